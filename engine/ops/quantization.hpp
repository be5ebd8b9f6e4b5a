#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "ops/op.hpp"

namespace ember::ops {

/// Which element of a scale (or zero point) belongs to which element of the tensor it scales:
/// one for all, one per index of an axis, or one per block of indices of an axis.
struct Granularity {
  enum class Kind : std::uint8_t { PerTensor, PerAxis, Blocked };
  Kind kind = Kind::PerTensor;
  std::int64_t extent = 1;  ///< of the axis
  std::int64_t inner = 1;   ///< elements behind the axis
  std::int64_t block = 1;   ///< indices of the axis that share a scale
  std::int64_t blocks = 1;

  [[nodiscard]] std::int64_t scale_of(std::int64_t element) const noexcept {
    if (kind == Kind::PerTensor) return 0;
    const std::int64_t index = element / inner % extent;
    if (kind == Kind::PerAxis) return index;
    const std::int64_t outer = element / inner / extent;
    return (outer * blocks + index / block) * inner + element % inner;
  }
};

/// Granularity of QuantizeLinear and DequantizeLinear nodes from the shapes of their first two inputs
/// and the attributes axis and block_size. Fails (InvalidModel) when the scale fits no granularity.
Granularity granularity(const NodeContext& node, const Shape& tensor, const Shape& scale);

/// The type a quantising node makes: that of its zero point (input `zero_point`), else output_dtype,
/// else `otherwise`. `given` is the zero point's type, Undefined when it is left out.
DataType quantised_type(const NodeContext& node, DataType given, DataType otherwise);

/// The element type that an attribute names by its TensorProto.DataType number, Undefined when it is
/// left out or 0. Fails (Unsupported) for one that ember does not hold.
DataType type_attribute(const NodeContext& node, const char* name);
/// Why type_attribute would fail, "" when it would not.
std::string unsupported_type_attribute(const NodeContext& node, const char* name);

/// Zero points of any integer type as numbers; none given means zeros.
std::int32_t zero_point_at(const ConstTensorView* zero_points, std::int64_t index);

/// `rounded` (a whole number or NaN, which becomes the lowest value) plus the zero point, held
/// within the type's range.
template <class T>
T saturate(double rounded, std::int32_t zero_point) {
  constexpr double kLow = std::numeric_limits<T>::min();
  constexpr double kHigh = std::numeric_limits<T>::max();
  const double moved = rounded + zero_point;
  if (!(moved > kLow)) return std::numeric_limits<T>::min();
  return moved >= kHigh ? std::numeric_limits<T>::max() : static_cast<T>(moved);
}

/// Calls f(T{}) for the integer types that quantised tensors have.
template <class F>
decltype(auto) dispatch_quantised(const NodeContext& node, DataType type, F&& f) {
  switch (type) {
    case DataType::Int8: return f(std::int8_t{});
    case DataType::UInt8: return f(std::uint8_t{});
    case DataType::Int16: return f(std::int16_t{});
    case DataType::UInt16: return f(std::uint16_t{});
    case DataType::Int32: return f(std::int32_t{});
    default: break;
  }
  node.fail(ErrorCode::Unsupported, std::string("quantised element type ") + to_string(type));
}

}  // namespace ember::ops
