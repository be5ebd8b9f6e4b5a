#include <utility>
#include <vector>

#include "ops/slice.hpp"
#include "ops/strided_copy.hpp"

namespace ember::ops {

namespace {

LowerResult consider_slice(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  for (int i = 1; i < c.input_count(); ++i) {
    if (c.has_input(i) && c.constants[static_cast<std::size_t>(i)] == nullptr)
      return Refusal{"the bounds are not constant"};
  }
  const auto constant = [&](int i) { return integers_of(*c.constants[static_cast<std::size_t>(i)]); };
  TensorDesc in = c.inputs[0];
  const ResolvedSlice slice =
      resolve_slice(c, in.shape, c.opset() < 10 ? slice_attributes(c) : slice_inputs(c, constant));
  if (in.layout == Layout::Blocked && !are_whole_blocks(in, {slice.start[1], slice.shape[1], slice.step[1]}))
    in.layout = Layout::Plain;
  const TensorDesc out = output_desc(c, 0, in.layout);
  BoxCopy box;
  for (int axis = 0; axis < in.shape.rank(); ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    add_axis(box, in, axis, {slice.start[at], slice.shape[axis], slice.step[at]}, out, axis);
  }
  return lower_box(c, std::move(box), in.layout, in.layout);
}

}  // namespace

void add_slice_candidates(CandidateMap& map) {
  map["Slice"].push_back({.implementation = "strided_slice", .consider = consider_slice});
}

}  // namespace ember::ops
