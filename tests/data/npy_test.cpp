#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include <ember/file.hpp>
#include <ember/npy.hpp>

#include "npy_bytes.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using namespace ember::test;

namespace {

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

struct Npy {
  ScratchFolder folder;
  std::filesystem::path file = folder / "array.npy";

  Tensor load(const std::string& bytes) const {
    write_file(file, bytes);
    return load_npy(file);
  }
  std::string refusal(const std::string& bytes) const {
    return error_of([&] { load(bytes); });
  }
};

template <class T>
void check_round_trip(const Npy& npy, const std::vector<T>& values, const char* descr) {
  CAPTURE(descr);
  const Tensor loaded =
      npy.load(npy_bytes(npy_dict(descr, "(" + std::to_string(values.size()) + ",)"), raw(values)));
  REQUIRE(loaded.type() == data_type_of<T>);
  REQUIRE(loaded.shape() == Shape{static_cast<std::int64_t>(values.size())});
  CHECK(std::memcmp(loaded.raw(), values.data(), loaded.bytes()) == 0);
  save_npy(npy.file, loaded.view());
  const Tensor again = load_npy(npy.file);
  CHECK(again.type() == loaded.type());
  CHECK(again.shape() == loaded.shape());
  CHECK(std::memcmp(again.raw(), loaded.raw(), loaded.bytes()) == 0);
}

}  // namespace

TEST_CASE_FIXTURE(Npy, "npy: every numeric type is read and written") {
  check_round_trip<float>(*this, {1.5F, -0.0F, NAN, INFINITY}, "<f4");
  check_round_trip<double>(*this, {1e300, -2.5}, "<f8");
  check_round_trip<Half>(*this, {Half(1.5F), Half(-3.0F)}, "<f2");
  check_round_trip<std::int8_t>(*this, {-128, 127}, "|i1");
  check_round_trip<std::int16_t>(*this, {-32768, 1}, "<i2");
  check_round_trip<std::int32_t>(*this, {-5, 6}, "<i4");
  check_round_trip<std::int64_t>(*this, {std::numeric_limits<std::int64_t>::min(), 7}, "<i8");
  check_round_trip<std::uint8_t>(*this, {0, 255}, "|u1");
  check_round_trip<std::uint16_t>(*this, {65535, 1}, "<u2");
  check_round_trip<std::uint32_t>(*this, {4294967295U, 1}, "<u4");
  check_round_trip<std::uint64_t>(*this, {std::numeric_limits<std::uint64_t>::max()}, "<u8");
}

TEST_CASE_FIXTURE(Npy, "npy: bool becomes 0 or 1 whatever the bytes say") {
  const Tensor loaded = load(npy_bytes(npy_dict("|b1", "(3,)"), std::string("\0\1\7", 3)));
  REQUIRE(loaded.type() == DataType::Bool);
  CHECK(std::memcmp(loaded.raw(), "\0\1\1", 3) == 0);
}

TEST_CASE_FIXTURE(Npy, "npy: bfloat16 is written as float32") {
  save_npy(file, Tensor(Shape{2}, std::vector<BFloat>{BFloat(1.5F), BFloat(-2.0F)}).view());
  const Tensor loaded = load_npy(file);
  REQUIRE(loaded.type() == DataType::Float32);
  CHECK(loaded.data<float>()[1] == -2.0F);
}

TEST_CASE_FIXTURE(Npy, "npy: headers of all versions, orders of keys and ranks") {
  const std::string data = raw<float>({1, 2, 3, 4, 5, 6});
  for (const int version : {1, 2, 3}) {
    const Tensor loaded = load(npy_bytes(npy_dict("<f4", "(2, 3)"), data, version));
    CHECK(loaded.shape() == Shape{2, 3});
    CHECK(loaded.data<float>()[5] == 6.0F);
  }
  CHECK(load(npy_bytes("{\"shape\":(2L,3L),'fortran_order':False,'descr':'<f4'}", data)).shape() ==
        Shape{2, 3});
  CHECK(load(npy_bytes(npy_dict("<f4", "()"), raw<float>({9}))).shape() == Shape{});
  CHECK(load(npy_bytes(npy_dict("<f4", "(0, 3)"), "")).elements() == 0);
  save_npy(file, Tensor::scalar(3.0F).view());
  CHECK(load_npy(file).shape() == Shape{});
}

TEST_CASE_FIXTURE(Npy, "npy: Fortran order becomes row-major, big-endian native") {
  const Tensor fortran =
      load(npy_bytes(npy_dict("<i2", "(2, 3)", true), raw<std::int16_t>({1, 4, 2, 5, 3, 6})));
  const std::vector<std::int16_t> expected{1, 2, 3, 4, 5, 6};
  CHECK(std::memcmp(fortran.raw(), expected.data(), fortran.bytes()) == 0);
  const Tensor big = load(npy_bytes(npy_dict(">i4", "(2,)"), std::string("\0\0\1\2\xff\xff\xff\xfe", 8)));
  CHECK(big.data<std::int32_t>()[0] == 258);
  CHECK(big.data<std::int32_t>()[1] == -2);
}

TEST_CASE_FIXTURE(Npy, "npy: what is no numeric array is refused with the reason") {
  CHECK(contains(refusal(npy_bytes(npy_dict("|O", "(3,)"), "pickle")), "object"));
  CHECK(contains(refusal(npy_bytes(npy_dict("|O", "(3,)"), "pickle")), "array.npy"));
  CHECK(contains(refusal(npy_bytes(npy_dict("<c8", "(1,)"), std::string(8, 'x'))), "'<c8'"));
  CHECK(contains(refusal(npy_bytes(npy_dict("<U3", "(1,)"), std::string(12, 'x'))), "astype"));
  CHECK(contains(
      refusal(npy_bytes("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "1234")),
      "record"));
}

TEST_CASE_FIXTURE(Npy, "npy: damaged and hostile files are refused before memory is taken") {
  const std::string good = npy_bytes(npy_dict("<f4", "(2, 3)"), std::string(24, 'x'));
  for (std::size_t length = 0; length < good.size(); ++length) {
    CAPTURE(length);
    CHECK_FALSE(refusal(good.substr(0, length)).empty());
  }
  CHECK(contains(refusal(good.substr(0, good.size() - 1)), "holds only 23 bytes"));
  CHECK(contains(refusal(good + "x"), "1 bytes more"));
  CHECK(contains(refusal("not an array at all"), "NUMPY"));
  CHECK(contains(refusal(npy_bytes(npy_dict("<f4", "(268435456,)"), "tiny")), "truncated"));
  CHECK(contains(refusal(npy_bytes(npy_dict("<f8", "(4611686018427387904,)"), "")), "truncated"));
  for (const char* shape : {"(4294967296, 4294967296)", "(99999999999999999999,)", "(-1,)", "(1, 2", "(1 2)",
                            "(1,1,1,1,1,1,1,1,1)", "[1]", "(2.5,)", "x"}) {
    CAPTURE(shape);
    CHECK_FALSE(refusal(npy_bytes(npy_dict("<f4", shape), "1234")).empty());
  }
  for (const char* header :
       {"", "{", "{}", "{'descr': '<f4'}", "{'descr': '<f4", "{'shape': (1,), 'extra': 1}",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} + 1"}) {
    CAPTURE(header);
    CHECK_FALSE(refusal(npy_bytes(header, "1234")).empty());
  }
  CHECK(contains(refusal(npy_bytes(npy_dict("<f4", "(1,)"), "1234", 4)), "version 4"));
}

TEST_CASE_FIXTURE(Npy, "npy: files the system cannot give are Io errors") {
  CHECK(contains(error_of([&] { load_npy(folder / "absent.npy"); }, ErrorCode::Io), "absent.npy"));
  CHECK(contains(error_of([&] { load_npy(folder.path()); }, ErrorCode::Io), "regular"));
}
