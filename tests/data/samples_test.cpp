#include <doctest/doctest.h>

#include <zlib.h>

#include <algorithm>
#include <cmath>

#include <ember/file.hpp>
#include <ember/npy.hpp>
#include <ember/samples.hpp>

#include "npy_bytes.hpp"
#include "support/scratch_folder.hpp"
#include "support/zoo.hpp"

using namespace ember;
using namespace ember::test;

namespace {

struct Data {
  ScratchFolder folder;

  std::filesystem::path save(const std::string& name, const Tensor& tensor) const {
    save_npy(folder / name, tensor.view());
    return folder / name;
  }
  static std::vector<float> read(Samples& samples, const Shape& input) {
    const std::int64_t n = samples.count();
    std::vector<float> values(static_cast<std::size_t>(input.with(0, n).elements()));
    samples.read(0, n, input, values.data());
    return values;
  }
};

std::string idx_bytes(int type, const std::vector<int>& dims, const std::string& data) {
  std::string bytes{'\0', '\0', static_cast<char>(type), static_cast<char>(dims.size())};
  for (const int extent : dims) {
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(extent >> shift);
  }
  return bytes + data;
}

void write_gzip(const std::filesystem::path& file, const std::string& bytes) {
  gzFile out = gzopen(file.c_str(), "wb");
  REQUIRE(out != nullptr);
  REQUIRE(gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size()));
  REQUIRE(gzclose(out) == Z_OK);
}

}  // namespace

TEST_CASE_FIXTURE(Data, "samples: every type becomes float32, NaN passes") {
  const auto check = [&](const Tensor& tensor) {
    CAPTURE(to_string(tensor.type()));
    const auto samples = open_samples(save("x.npy", tensor));
    CHECK(samples->count() == 2);
    CHECK(read(*samples, Shape{1, 1}) == std::vector<float>{1, 3});
  };
  check(Tensor(Shape{2, 1}, std::vector<float>{1, 3}));
  check(Tensor(Shape{2, 1}, std::vector<double>{1, 3}));
  check(Tensor(Shape{2, 1}, std::vector<Half>{Half(1.0F), Half(3.0F)}));
  check(Tensor(Shape{2, 1}, std::vector<std::int8_t>{1, 3}));
  check(Tensor(Shape{2, 1}, std::vector<std::int16_t>{1, 3}));
  check(Tensor(Shape{2, 1}, std::vector<std::int32_t>{1, 3}));
  check(Tensor(Shape{2, 1}, std::vector<std::int64_t>{1, 3}));
  check(Tensor(Shape{2}, std::vector<std::uint8_t>{1, 3}));
  check(Tensor(Shape{2, 1, 1}, std::vector<std::uint16_t>{1, 3}));
  check(Tensor(Shape{2, 1}, std::vector<std::uint32_t>{1, 3}));
  check(Tensor(Shape{2, 1}, std::vector<std::uint64_t>{1, 3}));
  const auto samples = open_samples(save("nan.npy", Tensor(Shape{2, 1}, std::vector<float>{NAN, INFINITY})));
  const std::vector<float> values = read(*samples, Shape{1, 1});
  CHECK(std::isnan(values[0]));
  CHECK(values[1] == INFINITY);
}

TEST_CASE_FIXTURE(Data, "samples: reshaped when the elements agree, refused when they do not") {
  Tensor images(DataType::UInt8, Shape{3, 2, 4});
  for (std::size_t i = 0; i < 24; ++i) images.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i);
  const auto samples = open_samples(save("x.npy", images));
  for (const Shape& input : {Shape{1, 1, 2, 4}, Shape{5, 8}, Shape{1, 2, 4}, Shape{1, 2, 4, 1}}) {
    CAPTURE(to_string(input));
    const std::vector<float> values = read(*samples, input);
    CHECK(values[23] == 23.0F);
  }
  std::vector<float> one(8);
  samples->read(1, 1, Shape{1, 8}, one.data());
  CHECK(one[0] == 8.0F);
  CHECK(contains(error_of([&] { read(*samples, Shape{1, 9}); }), "8 elements for 9"));
  CHECK(contains(error_of([&] { read(*samples, Shape{1, 24}); }), "leading axis"));
  CHECK(contains(error_of([&] { read(*samples, Shape{1, 4, 2}); }), "another order"));
  CHECK(contains(error_of([&] { samples->read(2, 2, Shape{1, 8}, one.data()); }, ErrorCode::InvalidArgument),
                 "do not exist"));
}

TEST_CASE_FIXTURE(Data, "samples: Fortran order and big-endian arrays read as they mean") {
  write_file(folder / "f.npy",
             npy_bytes(npy_dict(">i2", "(2, 3)", true), std::string("\0\1\0\4\0\2\0\5\0\3\0\6", 12)));
  const auto samples = open_samples(folder / "f.npy");
  CHECK(read(*samples, Shape{1, 3}) == std::vector<float>{1, 2, 3, 4, 5, 6});
}

TEST_CASE_FIXTURE(Data, "samples: an .npz gives the array named as the input, else x, and labels from y") {
  std::map<std::string, Tensor> arrays;
  arrays["pixels"] = Tensor(Shape{2, 2}, std::vector<float>{1, 2, 3, 4});
  save_npz(folder / "d.npz", arrays);
  CHECK(contains(error_of([&] { open_samples(folder / "d.npz", {}, "image"); }), "'pixels'"));
  CHECK(read(*open_samples(folder / "d.npz", {}, "pixels"), Shape{1, 2})[3] == 4.0F);
  arrays["x"] = Tensor(Shape{2, 2}, std::vector<float>{5, 6, 7, 8});
  arrays["y"] = Tensor(Shape{2}, std::vector<std::uint8_t>{200, 3});
  save_npz(folder / "d.npz", arrays);
  const auto samples = open_samples(folder / "d.npz", {}, "image");
  CHECK(read(*samples, Shape{1, 2})[3] == 8.0F);
  CHECK(samples->labels() == std::vector<std::int64_t>{200, 3});
  arrays["y"] = Tensor(Shape{3}, std::vector<std::int64_t>{1, 2, 3});
  save_npz(folder / "d.npz", arrays);
  CHECK(contains(error_of([&] { open_samples(folder / "d.npz"); }), "'y'"));
}

TEST_CASE_FIXTURE(Data, "samples: IDX of every type, plain and gzipped") {
  const auto check = [&](int type, const std::string& data) {
    CAPTURE(type);
    const std::string bytes = idx_bytes(type, {2, 1}, data);
    write_file(folder / "plain", bytes);
    write_gzip(folder / "packed.gz", bytes);
    for (const char* name : {"plain", "packed.gz"}) {
      CHECK(read(*open_samples(folder / name), Shape{1, 1}) == std::vector<float>{1, 2});
    }
  };
  check(0x08, "\1\2");
  check(0x09, "\1\2");
  check(0x0B, std::string("\0\1\0\2", 4));
  check(0x0C, std::string("\0\0\0\1\0\0\0\2", 8));
  check(0x0D, std::string("\x3f\x80\0\0\x40\0\0\0", 8));
  check(0x0E, std::string("\x3f\xf0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0", 16));
}

TEST_CASE_FIXTURE(Data, "samples: damaged and hostile IDX files are refused") {
  const auto refused = [&](const std::string& bytes) {
    write_file(folder / "plain", bytes);
    write_gzip(folder / "packed.gz", bytes);
    CHECK_FALSE(error_of([&] { open_samples(folder / "plain"); }).empty());
    CHECK_FALSE(error_of([&] { open_samples(folder / "packed.gz"); }).empty());
  };
  const std::string good = idx_bytes(0x08, {2, 3}, "abcdef");
  for (std::size_t length = 4; length < good.size(); ++length) refused(good.substr(0, length));
  refused(good + "g");
  refused(good + std::string(1 << 22, 'g'));
  refused(idx_bytes(0x07, {1}, "a"));
  refused(idx_bytes(0x0E, {0x7fffffff, 0x7fffffff, 0x7fffffff}, "a"));
  refused(idx_bytes(0x08, {0x7fffffff, 0x7fffffff}, "a"));
  refused(idx_bytes(0x08, {}, ""));
  write_gzip(folder / "g.gz", idx_bytes(0x08, {1, 100000}, std::string(100000, 'a')));
  std::filesystem::resize_file(folder / "g.gz", std::filesystem::file_size(folder / "g.gz") - 20);
  CHECK(contains(error_of([&] { open_samples(folder / "g.gz"); }), "g.gz"));
}

TEST_CASE_FIXTURE(Data, "samples: gzipped IDX is read in any order") {
  std::string data(3 << 20, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i % 251);
  write_gzip(folder / "x.gz", idx_bytes(0x08, {3 << 10, 1 << 10}, data));
  const auto samples = open_samples(folder / "x.gz");
  REQUIRE(samples->count() == 3 << 10);
  std::vector<float> sample(1 << 10);
  for (const std::int64_t at : {0, 1, 2000, 2001, 7, 3071, 0, 0}) {
    samples->read(at, 1, Shape{1, 1 << 10}, sample.data());
    CHECK(sample.front() == static_cast<float>((at << 10) % 251));
    CHECK(sample.back() == static_cast<float>(((at << 10) + 1023) % 251));
  }
}

TEST_CASE_FIXTURE(Data, "samples: nothing, and what is no data, is refused with what to do") {
  CHECK(contains(error_of([&] { open_samples(save("e.npy", Tensor(DataType::Float32, Shape{0, 3}))); }),
                 "no samples"));
  CHECK(contains(error_of([&] { open_samples(save("s.npy", Tensor::scalar(1.0F))); }), "first axis"));
  write_file(folder / "t.csv", "1,2,3\n");
  CHECK(contains(error_of([&] { open_samples(folder / "t.csv"); }), ".npz or IDX"));
  CHECK(contains(error_of([&] { open_samples(folder / "absent"); }, ErrorCode::Io), "absent"));
  CHECK(contains(error_of([&] { open_samples(folder.path()); }), "no samples"));
}

TEST_CASE_FIXTURE(Data, "samples: the content hash is that of the file") {
  write_file(folder / "x", idx_bytes(0x08, {1, 3}, "abc"));
  const std::string first = open_samples(folder / "x")->content_hash();
  CHECK(first.size() == 64);
  write_file(folder / "y", idx_bytes(0x08, {1, 3}, "abc"));
  CHECK(open_samples(folder / "y")->content_hash() == first);
  write_file(folder / "y", idx_bytes(0x08, {1, 3}, "abd"));
  CHECK(open_samples(folder / "y")->content_hash() != first);
}

TEST_CASE_FIXTURE(Data, "preprocessing: ((x * scale - mean) / std + offset) * scale_after, per channel") {
  const auto file = save("x.npy", Tensor(Shape{1, 2, 2}, std::vector<float>{10, 20, 30, 40}));
  Preprocessing p;
  p.scale = 0.5;
  p.mean = {1, 2};
  p.std = {2, 4};
  p.offset = 1;
  p.scale_after = 10;
  CHECK(read(*open_samples(file, p), Shape{1, 2, 2}) == std::vector<float>{30, 55, 42.5F, 55});
  p.mean = {1};
  p.std = {2};
  CHECK(read(*open_samples(file, p), Shape{1, 4}) == std::vector<float>{30, 55, 80, 105});
  p.mean = {1, 2, 3};
  CHECK(contains(error_of([&] { read(*open_samples(file, p), Shape{1, 2, 2}); }, ErrorCode::InvalidArgument),
                 "3 values"));
  p.mean = {1};
  p.size = {4};
  CHECK(contains(error_of([&] { open_samples(file, p); }, ErrorCode::InvalidArgument), "folders of images"));
}

TEST_CASE_FIXTURE(Data, "preprocessing: bytes become what they would as floats") {
  constexpr std::int64_t kSamples = 2;
  constexpr std::int64_t kValues = 3 * 128;
  Tensor bytes(DataType::UInt8, Shape{kSamples, kValues});
  Tensor signs(DataType::Int8, bytes.shape());
  Tensor floats(DataType::Float32, bytes.shape());
  Tensor signed_floats(DataType::Float32, bytes.shape());
  for (std::size_t i = 0; i < kSamples * kValues; ++i) {
    const auto byte = static_cast<std::uint8_t>(i * 7);
    bytes.data<std::uint8_t>()[i] = byte;
    signs.data<std::int8_t>()[i] = static_cast<std::int8_t>(byte);
    floats.data<float>()[i] = static_cast<float>(byte);
    signed_floats.data<float>()[i] = static_cast<float>(static_cast<std::int8_t>(byte));
  }
  Preprocessing per_channel;
  per_channel.scale = 1.0 / 255;
  per_channel.mean = {0.485, 0.456, 0.406};
  per_channel.std = {0.229, 0.224, 0.225};
  Preprocessing whole;
  whole.mean = {127.5};
  whole.offset = 0.25;
  for (const Preprocessing& preprocessing : {Preprocessing(), per_channel, whole}) {
    for (const Shape& input : {Shape{1, 3, 8, 16}, Shape{1, 8, 16, 3}}) {
      const auto values = [&](const char* name, const Tensor& tensor) {
        return read(*open_samples(save(name, tensor), preprocessing), input);
      };
      CHECK(values("bytes.npy", bytes) == values("floats.npy", floats));
      CHECK(values("signs.npy", signs) == values("signed.npy", signed_floats));
    }
  }
}

TEST_CASE_FIXTURE(Data, "preprocessing: JSON is read strictly") {
  const auto parse = [&](const std::string& text) {
    write_file(folder / "p.json", text);
    return Preprocessing::from_json_file(folder / "p.json");
  };
  const Preprocessing p =
      parse(R"({"data": "d.npz", "resize_short": 256, "size": 224, "color": "BGR", "scale": 0.5,
      "mean": [1, 2, 3], "std": 2, "offset": -1, "scale_after": 3, "label_offset": 1})");
  CHECK(p.resize_short == 256);
  CHECK(p.size == std::vector<int>{224});
  CHECK(p.color == "BGR");
  CHECK(p.scale == 0.5);
  CHECK(p.mean == std::vector<double>{1, 2, 3});
  CHECK(p.std == std::vector<double>{2});
  CHECK(p.offset == -1);
  CHECK(p.scale_after == 3);
  CHECK(p.label_offset == 1);
  CHECK(parse(R"({"size": [240, 320]})").size == std::vector<int>{240, 320});
  for (const char* bad :
       {"", "[]", "{", R"({"meen": 1})", R"({"std": 0})", R"({"size": []})", R"({"size": [1,2,3]})",
        R"({"size": -4})", R"({"size": 1.5})", R"({"color": "CMYK"})", R"({"mean": ["a"]})",
        R"({"scale": null})", R"({"scale": 1e999})", R"({"resize_short": 1e12})"}) {
    CAPTURE(bad);
    CHECK(contains(error_of([&] { parse(bad); }, ErrorCode::InvalidArgument), "p.json"));
  }
}

TEST_CASE("samples: the zoo's data sets open") {
  const std::filesystem::path zoo = zoo_folder();
  if (zoo.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return;
  }
  const std::filesystem::path data = zoo / "data";
  const auto cifar = open_samples(data / "cifar10_2500.npz");
  CHECK(cifar->count() == 2500);
  REQUIRE(cifar->labels());
  CHECK(cifar->labels()->size() == 2500);
  std::vector<float> last(3072);
  cifar->read(2499, 1, Shape{1, 3, 32, 32}, last.data());
  CHECK(*std::max_element(last.begin(), last.end()) > 100.0F);
  Preprocessing p;
  p.resize_short = 256;
  p.size = {224};
  const auto photos = open_samples(data / "imagenet250", p);
  CHECK(photos->count() == 250);
  CHECK(photos->labels()->front() == 0);
  std::vector<float> photo(3 * 224 * 224);
  photos->read(0, 1, Shape{1, 3, 224, 224}, photo.data());
  CHECK(*std::max_element(photo.begin(), photo.end()) > 100.0F);
}
