#include "ops/axes.hpp"

namespace ember::ops {

AxisSet axis_set(const NodeContext& node, const std::vector<std::int64_t>& axes, int rank) {
  AxisSet set{};
  for (const std::int64_t axis : axes) set[static_cast<std::size_t>(normalize_axis(node, axis, rank))] = true;
  return set;
}

Shape reduced_shape(const Shape& shape, const AxisSet& axes, bool keep) {
  std::vector<std::int64_t> dims;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (!axes[static_cast<std::size_t>(axis)]) dims.push_back(shape[axis]);
    else if (keep) dims.push_back(1);
  }
  return Shape(dims);
}

AxisSet reduction_axes(const NodeContext& node, int rank, bool axes_are_input,
                       const std::vector<std::int64_t>& given) {
  if (!given.empty()) return axis_set(node, given, rank);
  AxisSet all{};
  if (axes_are_input && node.integer("noop_with_empty_axes", 0) != 0) return all;
  for (int axis = 0; axis < rank; ++axis) all[static_cast<std::size_t>(axis)] = true;
  return all;
}

bool reduction_axes_are_input(const NodeContext& node) {
  return node.opset() >= (node.op() == "ReduceSum" ? 13 : 18);
}

}  // namespace ember::ops
