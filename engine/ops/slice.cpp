#include "ops/slice.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "ops/registry.hpp"
#include "ops/typed.hpp"

namespace ember::ops {

namespace {

void infer_slice(InferContext& c) {
  const SliceArguments arguments =
      c.opset() < 10 ? slice_attributes(c) : slice_inputs(c, [&](int i) { return c.required_integers(i); });
  c.set_output(0, c.type(0), resolve_slice(c, c.shape(0), arguments).shape);
}

void reference_slice(EvalContext& c) {
  const ConstTensorView& from = c.input(0);
  const TensorView& to = c.output(0);
  const SliceArguments arguments =
      c.opset() < 10 ? slice_attributes(c) : slice_inputs(c, [&](int i) { return c.integers_of(i); });
  const ResolvedSlice slice = resolve_slice(c, from.shape(), arguments);
  const PerAxis strides = dense_strides(from.shape());
  dispatch_by_size(size_of(from.type()), [&](auto zero) {
    using Word = decltype(zero);
    for_each_index(to.shape(), [&](std::int64_t position, const PerAxis& index) {
      std::int64_t source = 0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(to.shape().rank()); ++i)
        source += (slice.start[i] + index[i] * slice.step[i]) * strides[i];
      words<Word>(to)[position] = words<Word>(from)[source];
    });
  });
}

/// Start, step and count along one axis, as NumPy clamps them.
struct AxisSlice {
  std::int64_t start, step, count;
};
AxisSlice clamp_slice(std::int64_t extent, std::int64_t start, std::int64_t end, std::int64_t step) {
  // A longer step reaches one element like one just longer than the axis, and cannot overflow.
  step = std::clamp(step, -extent - 1, extent + 1);
  if (start < 0) start += extent;
  if (end < 0) end += extent;
  const std::int64_t lowest = step > 0 ? 0 : -1;
  const std::int64_t highest = step > 0 ? extent : extent - 1;
  start = std::clamp(start, std::int64_t{0}, std::max<std::int64_t>(highest, 0));
  end = std::clamp(end, lowest, std::max(highest, lowest));
  if (extent == 0) return {0, step, 0};
  const std::int64_t distance = step > 0 ? end - start : start - end;
  const std::int64_t stride = step > 0 ? step : -step;
  return {start, step, distance <= 0 ? 0 : (distance + stride - 1) / stride};
}

}  // namespace

SliceArguments slice_attributes(const NodeContext& node) {
  SliceArguments arguments{.starts = node.integers("starts"), .ends = node.integers("ends")};
  if (node.has("axes")) arguments.axes = node.integers("axes");
  return arguments;
}

ResolvedSlice resolve_slice(const NodeContext& node, const Shape& input, const SliceArguments& arguments) {
  const std::size_t count = arguments.starts.size();
  std::vector<std::int64_t> axes(count);
  std::iota(axes.begin(), axes.end(), 0);
  if (arguments.axes) axes = *arguments.axes;
  const std::vector<std::int64_t> steps = arguments.steps.value_or(std::vector<std::int64_t>(count, 1));
  node.require(arguments.ends.size() == count && axes.size() == count && steps.size() == count,
               fmt::format("{} starts, {} ends, {} axes, {} steps", count, arguments.ends.size(), axes.size(),
                           steps.size()));
  normalize_axes(node, axes, input.rank());  // refuses repeated axes
  ResolvedSlice slice{.shape = input};
  slice.step.fill(1);
  for (std::size_t i = 0; i < count; ++i) {
    node.require(steps[i] != 0, "a step of 0");
    const int axis = normalize_axis(node, axes[i], input.rank());
    const AxisSlice one = clamp_slice(input[axis], arguments.starts[i], arguments.ends[i], steps[i]);
    slice.start[static_cast<std::size_t>(axis)] = one.start;
    slice.step[static_cast<std::size_t>(axis)] = one.step;
    slice.shape = slice.shape.with(axis, one.count);
  }
  return slice;
}

void add_slice_operators(OperatorList& list) {
  list.push_back({.name = "Slice",
                  .versions = {1, 10, 11, 13},
                  .infer = infer_slice,
                  .reference = reference_slice,
                  .flops = no_flops});
}

}  // namespace ember::ops
