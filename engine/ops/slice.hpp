#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ops/movement.hpp"

namespace ember::ops {

/// Slice's arguments as the model states them, from attributes (opset < 10) or inputs.
struct SliceArguments {
  std::vector<std::int64_t> starts, ends;
  std::optional<std::vector<std::int64_t>> axes, steps;
};

/// A slice with every bound clamped: output element i along an axis is input element start + i * step.
struct ResolvedSlice {
  PerAxis start{};
  PerAxis step{};
  Shape shape;  ///< of the output
};

/// The attribute form, opset < 10.
SliceArguments slice_attributes(const NodeContext& node);
/// The input form; integers(i) reads input i.
template <class Integers>
SliceArguments slice_inputs(const NodeContext& node, Integers&& integers) {
  SliceArguments arguments{.starts = integers(1), .ends = integers(2)};
  if (node.has_input(3)) arguments.axes = integers(3);
  if (node.has_input(4)) arguments.steps = integers(4);
  return arguments;
}

ResolvedSlice resolve_slice(const NodeContext& node, const Shape& input, const SliceArguments& arguments);

}  // namespace ember::ops
