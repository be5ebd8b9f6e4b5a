#include "ops/movement.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember::ops {

PerAxis dense_strides(const Shape& shape) {
  PerAxis strides{};
  std::int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<std::size_t>(axis)] = stride;
    stride *= shape[axis];
  }
  return strides;
}

void copy_elements(const ConstTensorView& from, const TensorView& to) {
  if (from.bytes() != 0) std::memcpy(to.raw(), from.raw(), from.bytes());
}

std::int64_t wrapped_index(const NodeContext& node, std::int64_t index, std::int64_t extent) {
  if (index < -extent || index >= extent) {
    node.fail(ErrorCode::InvalidData, fmt::format("index {} is outside an axis of extent {}", index, extent));
  }
  return index < 0 ? index + extent : index;
}

std::int64_t checked_product(const NodeContext& node, std::int64_t a, std::int64_t b) {
  if (a != 0 && b > std::numeric_limits<std::int64_t>::max() / a) {
    node.fail(ErrorCode::ResourceLimit, fmt::format("an extent of {} times {} overflows", a, b));
  }
  return a * b;
}

std::vector<int> normalize_axes(const NodeContext& node, std::span<const std::int64_t> axes, int rank) {
  std::vector<int> normal;
  normal.reserve(axes.size());
  for (const std::int64_t axis : axes) normal.push_back(normalize_axis(node, axis, rank));
  std::ranges::sort(normal);
  node.require(std::ranges::adjacent_find(normal) == normal.end(), "an axis is named twice");
  return normal;
}

std::optional<DataType> type_from_onnx(std::int64_t number) {
  switch (number) {
    case 1: return DataType::Float32;
    case 2: return DataType::UInt8;
    case 3: return DataType::Int8;
    case 4: return DataType::UInt16;
    case 5: return DataType::Int16;
    case 6: return DataType::Int32;
    case 7: return DataType::Int64;
    case 9: return DataType::Bool;
    case 10: return DataType::Float16;
    case 11: return DataType::Float64;
    case 12: return DataType::UInt32;
    case 13: return DataType::UInt64;
    case 16: return DataType::BFloat16;
    default: return std::nullopt;
  }
}

double no_flops(const NodeContext&, std::span<const Shape>, std::span<const Shape>) { return 0; }

}  // namespace ember::ops
