#include <doctest/doctest.h>

#include <zip.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include <ember/file.hpp>
#include <ember/npy.hpp>

#include "data/byte_reader.hpp"
#include "data/npz_file.hpp"
#include "npy_bytes.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using namespace ember::test;

namespace {

struct Npz {
  ScratchFolder folder;
  std::filesystem::path file = folder / "arrays.npz";

  void pack(const std::string& name, const std::string& bytes, bool deflate) const {
    zip_t* archive = zip_open(file.c_str(), ZIP_CREATE, nullptr);
    REQUIRE(archive != nullptr);
    const auto index = zip_file_add(
        archive, name.c_str(), zip_source_buffer(archive, bytes.data(), bytes.size(), 0), ZIP_FL_ENC_UTF_8);
    REQUIRE(index >= 0);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index),
                             deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
    REQUIRE(zip_close(archive) == 0);
  }
  std::string refusal() const {
    return error_of([&] { load_npz(file); });
  }
  std::string bytes() const {
    const auto content = data::read_file(file);
    return {reinterpret_cast<const char*>(content.data()), content.size()};
  }
};

std::string counting(std::size_t count) {
  std::vector<std::uint32_t> values(count);
  std::iota(values.begin(), values.end(), 0U);
  return {reinterpret_cast<const char*>(values.data()), count * 4};
}

}  // namespace

TEST_CASE_FIXTURE(Npz, "npz: written arrays are read back, and the bytes depend on nothing else") {
  std::map<std::string, Tensor> tensors;
  tensors["in/x"] = Tensor(Shape{2, 2}, std::vector<float>{1, 2, 3, 4});
  tensors["y"] = Tensor(Shape{3}, std::vector<std::int64_t>{7, 8, 9});
  save_npz(file, tensors);
  const auto loaded = load_npz(file);
  REQUIRE(loaded.size() == 2);
  CHECK(loaded.at("in/x").shape() == Shape{2, 2});
  CHECK(loaded.at("in/x").data<float>()[3] == 4.0F);
  CHECK(loaded.at("y").data<std::int64_t>()[2] == 9);
  const std::string first = bytes();
  save_npz(file, tensors);
  CHECK(bytes() == first);
}

TEST_CASE_FIXTURE(Npz, "npz: stored and deflated arrays are read by range in any order") {
  const std::string whole = npy_bytes(npy_dict("<u4", "(100000,)"), counting(100000));
  for (const bool deflate : {false, true}) {
    CAPTURE(deflate);
    std::filesystem::remove(file);
    pack("x.npy", whole, deflate);
    const data::NpzFile archive(file);
    const data::NpzArray array = archive.open("x");
    for (const std::uint32_t index : {5U, 99999U, 0U, 70000U, 70001U, 3U}) {
      std::uint32_t value = 0;
      array.bytes->read(array.format.offset + 4ULL * index, std::as_writable_bytes(std::span(&value, 1)));
      CHECK(value == index);
    }
    CHECK(load_npz(file).at("x").data<std::uint32_t>()[54321] == 54321U);
  }
}

TEST_CASE_FIXTURE(Npz, "npz: entries that are no arrays are passed over") {
  pack("readme.txt", "hello", false);
  pack("x.npy", npy_bytes(npy_dict("<u4", "(1,)"), counting(1)), false);
  CHECK(load_npz(file).size() == 1);
}

TEST_CASE_FIXTURE(Npz, "npz: an object array is refused by name") {
  pack("good.npy", npy_bytes(npy_dict("<u4", "(1,)"), counting(1)), true);
  pack("bad.npy", npy_bytes(npy_dict("|O", "(1,)"), "pickle"), true);
  CHECK(contains(refusal(), "'bad'"));
  CHECK(contains(refusal(), "object"));
}

TEST_CASE_FIXTURE(Npz, "npz: a missing array names what is there") {
  pack("a.npy", npy_bytes(npy_dict("<u4", "(1,)"), counting(1)), true);
  pack("b.npy", npy_bytes(npy_dict("<u4", "(1,)"), counting(1)), true);
  const data::NpzFile archive(file);
  CHECK(contains(error_of([&] { (void)archive.open("x"); }), "'a', 'b'"));
}

TEST_CASE_FIXTURE(Npz, "npz: the array's size must be the entry's size") {
  pack("x.npy", npy_bytes(npy_dict("<u4", "(1000000000,)"), counting(4)), true);
  CHECK(contains(refusal(), "truncated"));
  std::filesystem::remove(file);
  pack("x.npy", npy_bytes(npy_dict("<u4", "(1,)"), std::string(1 << 22, '\0')), true);
  CHECK(contains(refusal(), "bytes more"));
}

TEST_CASE_FIXTURE(Npz, "npz: a claimed size that deflate cannot reach is refused") {
  pack("x.npy", npy_bytes(npy_dict("<u4", "(4,)"), counting(4)), true);
  std::string content = bytes();
  const std::size_t directory = content.rfind("PK\x01\x02");
  REQUIRE(directory != std::string::npos);
  const std::uint32_t claimed = 1U << 30;
  std::memcpy(content.data() + directory + 24, &claimed, 4);
  write_file(file, content);
  CHECK_FALSE(refusal().empty());
}

TEST_CASE_FIXTURE(Npz, "npz: no prefix and no flipped byte of an archive does harm") {
  pack("x.npy", npy_bytes(npy_dict("<u4", "(64,)"), counting(64)), true);
  const std::string good = bytes();
  for (std::size_t length = 0; length < good.size(); length += 3) {
    write_file(file, good.substr(0, length));
    CAPTURE(length);
    CHECK_FALSE(refusal().empty());
  }
  int refused = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    write_file(file, damaged);
    try {
      load_npz(file);
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 100);
}
