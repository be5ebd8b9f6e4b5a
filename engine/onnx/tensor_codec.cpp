#include "onnx/tensor_codec.hpp"

#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "onnx/data_type.hpp"

namespace ember::onnx {

// ONNX stores elements little-endian; so does every machine ember is built for.
static_assert(std::endian::native == std::endian::little);

namespace {

using ::onnx::TensorProto;

[[noreturn]] void malformed(const std::string& reason) { throw Error(ErrorCode::InvalidModel, reason); }

Shape shape_of(const TensorProto& proto) {
  for (const std::int64_t extent : proto.dims()) {
    if (extent < 0) malformed(fmt::format("negative extent {}", extent));
  }
  return Shape(std::vector<std::int64_t>(proto.dims().begin(), proto.dims().end()));
}

std::uint64_t bytes_of(DataType type, const Shape& shape) {
  const auto count = static_cast<std::uint64_t>(shape.elements());
  if (count > (std::uint64_t{1} << 60)) malformed("the number of elements overflows");
  return count * size_of(type);
}

void check_count(std::uint64_t present, std::uint64_t expected, const char* unit, const Shape& shape) {
  if (present != expected) {
    malformed(fmt::format("holds {} {} where shape {} needs {}", present, unit, to_string(shape), expected));
  }
}

/// Takes over memory if it is aligned for the type, else copies.
Tensor adopt_or_copy(DataType type, const Shape& shape, std::shared_ptr<void> owner, void* data) {
  if (reinterpret_cast<std::uintptr_t>(data) % size_of(type) == 0) {
    return Tensor::adopt(type, shape, std::move(owner), data);
  }
  return Tensor(ConstTensorView(type, shape, data));
}

/// Any byte but 0 counts as true; a C++ bool may hold only 0 and 1.
void normalize_booleans(Tensor& tensor) {
  if (tensor.type() != DataType::Bool) return;
  auto* bytes = static_cast<unsigned char*>(tensor.raw());
  for (std::size_t i = 0; i < tensor.bytes(); ++i) bytes[i] = bytes[i] != 0 ? 1 : 0;
}

Tensor from_raw(TensorProto& proto, RawElements apart, DataType type, const Shape& shape) {
  if (apart.memory != nullptr) {
    check_count(apart.bytes, bytes_of(type, shape), "bytes", shape);
    void* data = apart.memory.get();
    return Tensor::adopt(type, shape, std::move(apart.memory), data);
  }
  check_count(proto.raw_data().size(), bytes_of(type, shape), "bytes", shape);
  auto owner = std::make_shared<std::string>(std::move(*proto.mutable_raw_data()));
  char* data = owner->data();
  return adopt_or_copy(type, shape, std::move(owner), data);
}

/// A field whose elements are the tensor's own type: its memory is taken over.
template <class T>
Tensor take_field(google::protobuf::RepeatedField<T>& field, DataType type, const Shape& shape) {
  check_count(static_cast<std::uint64_t>(field.size()), static_cast<std::uint64_t>(shape.elements()),
              "elements", shape);
  auto owner = std::make_shared<google::protobuf::RepeatedField<T>>(std::move(field));
  if (owner->empty()) return Tensor(type, shape);
  T* data = owner->mutable_data();
  return adopt_or_copy(type, shape, std::move(owner), data);
}

/// A field that holds smaller elements, one in the low bits of each entry.
template <class Stored, class T>
Tensor narrow_field(const google::protobuf::RepeatedField<Stored>& field, DataType type, const Shape& shape) {
  check_count(static_cast<std::uint64_t>(field.size()), static_cast<std::uint64_t>(shape.elements()),
              "elements", shape);
  Tensor tensor(type, shape);
  auto* to = static_cast<T*>(tensor.raw());
  for (const Stored value : field) *to++ = static_cast<T>(value);
  return tensor;
}

Tensor from_int32_data(TensorProto& proto, DataType type, const Shape& shape) {
  switch (size_of(type)) {
    case 1:
      if (type == DataType::Bool) return narrow_field<std::int32_t, bool>(proto.int32_data(), type, shape);
      return narrow_field<std::int32_t, std::uint8_t>(proto.int32_data(), type, shape);
    case 2: return narrow_field<std::int32_t, std::uint16_t>(proto.int32_data(), type, shape);
    default: return take_field(*proto.mutable_int32_data(), type, shape);
  }
}

Tensor from_typed_field(TensorProto& proto, DataType type, const Shape& shape) {
  switch (type) {
    case DataType::Float32: return take_field(*proto.mutable_float_data(), type, shape);
    case DataType::Float64: return take_field(*proto.mutable_double_data(), type, shape);
    case DataType::Int64: return take_field(*proto.mutable_int64_data(), type, shape);
    case DataType::UInt64: return take_field(*proto.mutable_uint64_data(), type, shape);
    case DataType::UInt32:
      return narrow_field<std::uint64_t, std::uint32_t>(proto.uint64_data(), type, shape);
    default: return from_int32_data(proto, type, shape);
  }
}

std::uint64_t parse_number(const std::string& key, const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    malformed(fmt::format("external data {} '{}' is not a number", key, text));
  }
  return number;
}

Tensor from_external(const TensorProto& proto, DataType type, const Shape& shape, ExternalData& external) {
  ExternalRegion region;
  for (const auto& entry : proto.external_data()) {
    if (entry.key() == "location") region.location = entry.value();
    if (entry.key() == "offset") region.offset = parse_number(entry.key(), entry.value());
    if (entry.key() == "length") region.length = parse_number(entry.key(), entry.value());
  }
  std::shared_ptr<void> memory = external.read(region, bytes_of(type, shape));
  void* data = memory.get();
  Tensor tensor = Tensor::adopt(type, shape, std::move(memory), data);
  // Booleans get normalised, which other tensors on the same region must not see.
  return type == DataType::Bool ? Tensor(std::as_const(tensor).view()) : std::move(tensor);
}

}  // namespace

Tensor decode_tensor(TensorProto& proto, ExternalData& external, RawElements apart) {
  const DataType type = from_onnx(proto.data_type());
  if (proto.data_type() == TensorProto::UNDEFINED) malformed("the tensor has no element type");
  if (type == DataType::Undefined) {
    throw Error(ErrorCode::Unsupported, "element type " + onnx_type_name(proto.data_type()));
  }
  if (proto.has_segment()) throw Error(ErrorCode::Unsupported, "a tensor stored in segments");
  const Shape shape = shape_of(proto);
  Tensor tensor;
  if (proto.data_location() == TensorProto::EXTERNAL) {
    tensor = from_external(proto, type, shape, external);
  } else if (proto.has_raw_data() || apart.memory != nullptr) {
    tensor = from_raw(proto, std::move(apart), type, shape);
  } else {
    tensor = from_typed_field(proto, type, shape);
  }
  normalize_booleans(tensor);
  return tensor;
}

void describe_tensor(const Tensor& tensor, TensorProto& proto) {
  proto.set_data_type(to_onnx(tensor.type()));
  for (const std::int64_t extent : tensor.shape()) proto.add_dims(extent);
}

void encode_elements(const Tensor& tensor, TensorProto& proto) {
  proto.set_raw_data(tensor.raw(), tensor.bytes());
}

}  // namespace ember::onnx
