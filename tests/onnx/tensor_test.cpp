#include <cstring>
#include <fstream>

#include <doctest/doctest.h>

#include "onnx/model_file.hpp"
#include "onnx/tensor_proto.hpp"
#include "support/graph_equal.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using test::check_error;

namespace {

::onnx::TensorProto proto_of(std::int32_t type, const std::vector<std::int64_t>& dims) {
  ::onnx::TensorProto proto;
  proto.set_name("t");
  proto.set_data_type(type);
  for (const std::int64_t extent : dims) proto.add_dims(extent);
  return proto;
}

Tensor read(const ::onnx::TensorProto& proto) {
  const std::string bytes = proto.SerializeAsString();
  return ember::onnx::read_tensor_bytes(std::as_bytes(std::span(bytes))).tensor;
}

template <class T>
void check_elements(const Tensor& tensor, const std::vector<T>& expected) {
  REQUIRE(tensor.type() == data_type_of<T>);
  REQUIRE(static_cast<std::size_t>(tensor.elements()) == expected.size());
  CHECK(std::memcmp(tensor.raw(), expected.data(), tensor.bytes()) == 0);
}

/// Reads `values` given in int32_data as `T`, which has this ONNX type number.
template <class T>
void check_int32_data(std::int32_t type, const std::vector<std::int32_t>& values,
                      const std::vector<T>& expected) {
  ::onnx::TensorProto proto = proto_of(type, {static_cast<std::int64_t>(values.size())});
  for (const std::int32_t value : values) proto.add_int32_data(value);
  check_elements(read(proto), expected);
}

}  // namespace

TEST_CASE("typed fields hold every element type") {
  check_int32_data<std::int32_t>(6, {-7, 1 << 30}, {-7, 1 << 30});
  check_int32_data<std::int8_t>(3, {-128, 127}, {-128, 127});
  check_int32_data<std::uint8_t>(2, {0, 255}, {0, 255});
  check_int32_data<std::int16_t>(5, {-32768, 32767}, {-32768, 32767});
  check_int32_data<std::uint16_t>(4, {0, 65535}, {0, 65535});
  check_int32_data<Half>(10, {0x3C00, 0xC000}, {Half(1.0F), Half(-2.0F)});
  check_int32_data<BFloat>(16, {0x3F80, 0xC000}, {BFloat(1.0F), BFloat(-2.0F)});
  ::onnx::TensorProto truths = proto_of(9, {3});
  for (const int value : {0, 1, 5}) truths.add_int32_data(value);
  const Tensor read_truths = read(truths);
  CHECK(std::memcmp(read_truths.raw(), "\0\1\1", 3) == 0);

  ::onnx::TensorProto floats = proto_of(1, {2});
  floats.add_float_data(1.5F);
  floats.add_float_data(-2.5F);
  check_elements<float>(read(floats), {1.5F, -2.5F});
  ::onnx::TensorProto doubles = proto_of(11, {1});
  doubles.add_double_data(0.1);
  check_elements<double>(read(doubles), {0.1});
  ::onnx::TensorProto longs = proto_of(7, {1});
  longs.add_int64_data(std::int64_t{-5} << 40);
  check_elements<std::int64_t>(read(longs), {std::int64_t{-5} << 40});
  ::onnx::TensorProto words = proto_of(12, {1});
  words.add_uint64_data(0xFFFFFFFFU);
  check_elements<std::uint32_t>(read(words), {0xFFFFFFFFU});
  ::onnx::TensorProto large = proto_of(13, {1});
  large.add_uint64_data(~std::uint64_t{0});
  check_elements<std::uint64_t>(read(large), {~std::uint64_t{0}});
}

TEST_CASE("raw bytes, scalars and empty tensors") {
  ::onnx::TensorProto raw = proto_of(1, {});
  const float value = 3.25F;
  raw.set_raw_data(&value, sizeof value);
  CHECK(read(raw).shape().rank() == 0);
  check_elements<float>(read(raw), {3.25F});
  CHECK(read(proto_of(1, {0, 3})).elements() == 0);
  CHECK(read(proto_of(7, {0})).elements() == 0);
  ::onnx::TensorProto truths = proto_of(9, {3});
  truths.set_raw_data(std::string("\0\1\7", 3));
  const Tensor normal = read(truths);
  CHECK(std::memcmp(normal.raw(), "\0\1\1", 3) == 0);
}

TEST_CASE("a tensor file keeps its name and survives a round trip") {
  const test::ScratchFolder folder;
  const Tensor tensor(Shape{2, 2}, std::vector<std::int64_t>{1, -2, 3, -4});
  const std::vector<std::byte> bytes = ember::onnx::write_tensor_bytes({.name = "indices", .tensor = tensor});
  std::ofstream(folder / "input_0.pb", std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  const ember::onnx::NamedTensor again = ember::onnx::read_tensor_file(folder / "input_0.pb");
  CHECK(again.name == "indices");
  CHECK(test::same_tensor(again.tensor, tensor));
}

TEST_CASE("what is no tensor ember has is refused by name") {
  check_error(ErrorCode::Unsupported, {"string"}, [] { read(proto_of(8, {1})); });
  check_error(ErrorCode::Unsupported, {"int4"}, [] { read(proto_of(22, {1})); });
  check_error(ErrorCode::Unsupported, {"type 99"}, [] { read(proto_of(99, {1})); });
  check_error(ErrorCode::InvalidData, {"no element type"}, [] { read(proto_of(0, {1})); });
  const std::string garbage = "\xff\xff\xff garbage";
  check_error(ErrorCode::InvalidData, {"input_0.pb"},
              [&] { ember::onnx::read_tensor_bytes(std::as_bytes(std::span(garbage)), "input_0.pb"); });
}
