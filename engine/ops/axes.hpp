#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ops/op.hpp"

namespace ember::ops {

/// Which axes of a tensor an operator runs over.
using AxisSet = std::array<bool, Shape::kMaxRank>;

/// Axes (negative ones count from the end) of a tensor of that rank. Fails (InvalidModel) for an axis
/// outside; naming one twice is the same as naming it once.
AxisSet axis_set(const NodeContext& node, const std::vector<std::int64_t>& axes, int rank);

/// The shape with the axes of the set made 1 (`keep`) or left out.
Shape reduced_shape(const Shape& shape, const AxisSet& axes, bool keep);

/// The axes a Reduce* node reduces over: attribute or input 1 (`given`, when `has_given`), with the
/// meaning of leaving them out or empty.
AxisSet reduction_axes(const NodeContext& node, int rank, bool axes_are_input,
                       const std::vector<std::int64_t>& given);

/// True when the Reduce* operator takes its axes as input 1 in the node's opset.
bool reduction_axes_are_input(const NodeContext& node);

}  // namespace ember::ops
