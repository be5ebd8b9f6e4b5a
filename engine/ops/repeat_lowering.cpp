#include <utility>

#include "ops/strided_copy.hpp"

// Expand and Tile: the output's shape says how often each axis is repeated.

namespace ember::ops {

namespace {

TensorDesc plain(TensorDesc desc) {
  desc.layout = Layout::Plain;
  return desc;
}

LowerResult consider_expand(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  const TensorDesc in = plain(c.inputs[0]);
  const TensorDesc out = output_desc(c, 0, Layout::Plain);
  const int extra = out.shape.rank() - in.shape.rank();
  BoxCopy box;
  for (int axis = 0; axis < out.shape.rank(); ++axis) {
    const std::int64_t extent = out.shape[axis];
    if (axis < extra) add_axis(box, in, -1, {.count = extent}, out, axis);
    else
      add_axis(box, in, axis - extra, {.count = extent, .step = in.shape[axis - extra] == 1 ? 0 : 1}, out,
               axis);
  }
  return lower_box(c, std::move(box), Layout::Plain, Layout::Plain);
}

LowerResult consider_tile(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  const Shape& in = c.inputs[0].shape;
  const Shape& out = c.outputs[0].shape;
  BoxCopy box;
  for (int axis = 0; axis < in.rank(); ++axis) {
    const std::int64_t extent = in[axis];
    const std::int64_t repeats = extent == 0 ? 0 : out[axis] / extent;
    const std::int64_t to = out.elements(axis + 1, out.rank());
    box.axes.push_back({repeats, 0, to * extent});
    box.axes.push_back({extent, in.elements(axis + 1, in.rank()), to});
  }
  return lower_box(c, std::move(box), Layout::Plain, Layout::Plain);
}

}  // namespace

void add_repeat_candidates(CandidateMap& map) {
  map["Expand"].push_back({.implementation = "strided_repeat", .consider = consider_expand});
  map["Tile"].push_back({.implementation = "strided_repeat", .consider = consider_tile});
}

}  // namespace ember::ops
