#include "ops/quantization.hpp"

#include <fmt/format.h>

#include "onnx/data_type.hpp"
#include "ops/typed.hpp"

namespace ember::ops {

Granularity granularity(const NodeContext& node, const Shape& tensor, const Shape& scale) {
  Granularity g;
  const std::int64_t block = node.integer("block_size", 0);
  node.require(block >= 0, fmt::format("block_size {}", block));
  if (scale.elements() == 1 && scale.rank() <= 1 && block == 0) return g;
  const int axis = normalize_axis(node, node.integer("axis", 1), tensor.rank());
  g.extent = tensor[axis];
  g.inner = tensor.elements(axis + 1, tensor.rank());
  if (block == 0) {
    node.require(scale == Shape{g.extent}, fmt::format("a scale of shape {} for axis {} of {}",
                                                       to_string(scale), axis, to_string(tensor)));
    g.kind = Granularity::Kind::PerAxis;
    return g;
  }
  g.kind = Granularity::Kind::Blocked;
  g.block = block;
  g.blocks = g.extent / block + (g.extent % block != 0 ? 1 : 0);
  node.require(scale == tensor.with(axis, g.blocks),
               fmt::format("a scale of shape {} for blocks of {} on axis {} of {}", to_string(scale), block,
                           axis, to_string(tensor)));
  return g;
}

DataType quantised_type(const NodeContext& node, DataType given, DataType otherwise) {
  if (node.integer("output_dtype", 0) == 0) return given == DataType::Undefined ? otherwise : given;
  const DataType stated = type_attribute(node, "output_dtype");
  node.require(given == DataType::Undefined || given == stated,
               fmt::format("output_dtype {} with a zero point of {}", to_string(stated), to_string(given)));
  return stated;
}

DataType type_attribute(const NodeContext& node, const char* name) {
  const std::int64_t code = node.integer(name, 0);
  const std::string reason = unsupported_type_attribute(node, name);
  if (!reason.empty()) node.fail(ErrorCode::Unsupported, reason);
  return onnx::from_onnx(static_cast<std::int32_t>(code));
}

std::string unsupported_type_attribute(const NodeContext& node, const char* name) {
  const std::int64_t code = node.integer(name, 0);
  if (code == 0) return {};
  if (code < 0 || code > std::numeric_limits<std::int32_t>::max()) return fmt::format("{} {}", name, code);
  const auto type = static_cast<std::int32_t>(code);
  if (onnx::from_onnx(type) != DataType::Undefined) return {};
  return fmt::format("{} {}", name, onnx::onnx_type_name(type));
}

std::int32_t zero_point_at(const ConstTensorView* zero_points, std::int64_t index) {
  if (zero_points == nullptr) return 0;
  const auto at = static_cast<std::size_t>(index);
  switch (zero_points->type()) {
    case DataType::Int8: return zero_points->data<std::int8_t>()[at];
    case DataType::UInt8: return zero_points->data<std::uint8_t>()[at];
    case DataType::Int16: return zero_points->data<std::int16_t>()[at];
    case DataType::UInt16: return zero_points->data<std::uint16_t>()[at];
    default: break;
  }
  return zero_points->data<std::int32_t>()[at];
}

}  // namespace ember::ops
