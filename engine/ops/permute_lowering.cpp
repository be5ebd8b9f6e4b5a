#include <span>
#include <utility>
#include <vector>

#include "ops/space_depth.hpp"
#include "ops/strided_copy.hpp"
#include "ops/transpose.hpp"

// Transpose, DepthToSpace and SpaceToDepth: axes in another order.

namespace ember::ops {

namespace {

LowerResult consider_transpose(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  TensorDesc in = c.inputs[0];
  // Whole blocks are read where they lie, which saves a conversion in front.
  if (in.layout == Layout::Blocked && in.shape[1] % in.block != 0) in.layout = Layout::Plain;
  const TensorDesc out = output_desc(c, 0, Layout::Plain);
  const std::vector<int> perm = permutation_of(c, in.shape.rank());
  BoxCopy box;
  for (int axis = 0; axis < out.shape.rank(); ++axis) {
    const int source = perm[static_cast<std::size_t>(axis)];
    add_axis(box, in, source, {.count = in.shape[source]}, out, axis);
  }
  return lower_box(c, std::move(box), in.layout, Layout::Plain);
}

LowerResult lower_six_axes(LowerContext& c, const SixAxes& axes) {
  const TensorDesc from{.type = c.inputs[0].type, .shape = Shape(std::span<const std::int64_t>(axes.dims))};
  std::vector<std::int64_t> dims;
  for (const int axis : axes.perm) dims.push_back(from.shape[axis]);
  const TensorDesc to{.type = from.type, .shape = Shape(dims)};
  BoxCopy box;
  for (int axis = 0; axis < 6; ++axis) {
    const int source = axes.perm[static_cast<std::size_t>(axis)];
    add_axis(box, from, source, {.count = from.shape[source]}, to, axis);
  }
  return lower_box(c, std::move(box), Layout::Plain, Layout::Plain);
}

LowerResult consider_depth_to_space(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  return lower_six_axes(c, depth_to_space_axes(c, c.inputs[0].shape));
}

LowerResult consider_space_to_depth(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  return lower_six_axes(c, space_to_depth_axes(c, c.inputs[0].shape));
}

}  // namespace

void add_permute_candidates(CandidateMap& map) {
  map["Transpose"].push_back({.implementation = "strided_transpose", .consider = consider_transpose});
  map["DepthToSpace"].push_back({.implementation = "strided_transpose", .consider = consider_depth_to_space});
  map["SpaceToDepth"].push_back({.implementation = "strided_transpose", .consider = consider_space_to_depth});
}

}  // namespace ember::ops
