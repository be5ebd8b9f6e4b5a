#include <ember/tensor.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "core/aligned_memory.hpp"

namespace ember {

std::size_t size_of(DataType type) noexcept {
  switch (type) {
    case DataType::Undefined: return 0;
    case DataType::Int8:
    case DataType::UInt8:
    case DataType::Bool: return 1;
    case DataType::Float16:
    case DataType::BFloat16:
    case DataType::Int16:
    case DataType::UInt16: return 2;
    case DataType::Float32:
    case DataType::Int32:
    case DataType::UInt32: return 4;
    case DataType::Float64:
    case DataType::Int64:
    case DataType::UInt64: return 8;
  }
  return 0;
}

const char* to_string(DataType type) noexcept {
  switch (type) {
    case DataType::Undefined: return "undefined";
    case DataType::Float32: return "float32";
    case DataType::Float64: return "float64";
    case DataType::Float16: return "float16";
    case DataType::BFloat16: return "bfloat16";
    case DataType::Int8: return "int8";
    case DataType::Int16: return "int16";
    case DataType::Int32: return "int32";
    case DataType::Int64: return "int64";
    case DataType::UInt8: return "uint8";
    case DataType::UInt16: return "uint16";
    case DataType::UInt32: return "uint32";
    case DataType::UInt64: return "uint64";
    case DataType::Bool: return "bool";
  }
  return "undefined";
}

Half::Half(float value) noexcept {
  const auto f = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((f >> 16) & 0x8000U);
  const std::uint32_t magnitude = f & 0x7FFFFFFFU;
  if (magnitude >= 0x7F800000U) {  // infinity, NaN (kept quiet)
    bits = static_cast<std::uint16_t>(sign | (magnitude > 0x7F800000U ? 0x7E00U : 0x7C00U));
  } else if (magnitude >= 0x477FF000U) {  // rounds to infinity
    bits = static_cast<std::uint16_t>(sign | 0x7C00U);
  } else if (magnitude >= 0x38800000U) {  // normal
    const std::uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
    bits = static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
  } else {  // subnormal: adding 0.5 leaves the result, rounded to nearest even, in the low mantissa bits
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    bits = static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000U));
  }
}

Half::operator float() const noexcept {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  const std::uint32_t top = exponent == 31 ? 0x7F800000U : (exponent + 112U) << 23;
  return std::bit_cast<float>(sign | top | (mantissa << 13));
}

BFloat::BFloat(float value) noexcept {
  const auto f = std::bit_cast<std::uint32_t>(value);
  if ((f & 0x7FFFFFFFU) > 0x7F800000U) {
    bits = static_cast<std::uint16_t>((f >> 16) | 0x40U);
  } else {
    bits = static_cast<std::uint16_t>((f + 0x7FFFU + ((f >> 16) & 1U)) >> 16);
  }
}

BFloat::operator float() const noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

Shape::Shape(std::span<const std::int64_t> dims) {
  if (dims.size() > static_cast<std::size_t>(kMaxRank)) {
    throw Error(ErrorCode::ResourceLimit,
                fmt::format("rank {} exceeds the supported {}", dims.size(), kMaxRank));
  }
  constexpr std::int64_t kMaxElements = std::int64_t{1} << 62;
  std::int64_t count = 1;
  for (const std::int64_t extent : dims) {
    if (extent < 0) throw Error(ErrorCode::ResourceLimit, fmt::format("negative extent {}", extent));
    if (extent > 0 && count > kMaxElements / extent) {
      throw Error(ErrorCode::ResourceLimit, "the number of elements overflows");
    }
    count *= std::max<std::int64_t>(extent, 1);
    dims_[static_cast<std::size_t>(rank_++)] = extent;
  }
}

std::int64_t Shape::elements() const noexcept { return elements(0, rank_); }

std::int64_t Shape::elements(int begin, int end) const noexcept {
  std::int64_t count = 1;
  for (int axis = begin; axis < end; ++axis) count *= (*this)[axis];
  return count;
}

Shape Shape::with(int axis, std::int64_t extent) const {
  auto dims = dims_;
  dims[static_cast<std::size_t>(axis)] = extent;
  return Shape(std::span<const std::int64_t>(dims.data(), static_cast<std::size_t>(rank_)));
}

bool operator==(const Shape& a, const Shape& b) noexcept {
  return a.rank_ == b.rank_ && std::equal(a.begin(), a.end(), b.begin());
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

namespace detail {
void fail_type(DataType held, DataType asked) {
  throw Error(ErrorCode::InvalidArgument,
              fmt::format("the tensor holds {}, not {}", to_string(held), to_string(asked)));
}
}  // namespace detail

Tensor::Tensor(DataType type, const Shape& shape) : shape_(shape), type_(type) {
  const auto count = static_cast<std::size_t>(shape.elements());
  const std::size_t element = size_of(type);
  if (element != 0 && count > (std::size_t{1} << 62) / element) {
    throw Error(ErrorCode::ResourceLimit, fmt::format("a tensor of shape {} is too large", to_string(shape)));
  }
  owner_ = allocate_aligned(count * element);
  data_ = owner_.get();
  std::memset(data_, 0, count * element);
}

Tensor::Tensor(ConstTensorView view) : shape_(view.shape()), type_(view.type()) {
  owner_ = allocate_aligned(view.bytes());
  data_ = owner_.get();
  if (view.bytes() != 0) std::memcpy(data_, view.raw(), view.bytes());
}

Tensor Tensor::adopt(DataType type, const Shape& shape, std::shared_ptr<void> owner, void* data) {
  Tensor tensor;
  tensor.type_ = type;
  tensor.shape_ = shape;
  tensor.owner_ = std::move(owner);
  tensor.data_ = data;
  return tensor;
}

Tensor::Tensor(const Tensor& other) : Tensor(other.view()) {}

Tensor& Tensor::operator=(const Tensor& other) {
  if (this != &other) *this = Tensor(other.view());
  return *this;
}

Tensor Tensor::reshaped(const Shape& shape) && {
  if (shape.elements() != elements()) {
    throw Error(ErrorCode::InvalidArgument,
                fmt::format("cannot reshape {} to {}", to_string(shape_), to_string(shape)));
  }
  shape_ = shape;
  return std::move(*this);
}

}  // namespace ember
