#include <utility>
#include <vector>

#include "ops/strided_copy.hpp"

// Concat and Split: runs of memory side by side. Blocked channels stay blocked where every piece starts at
// a whole block.

namespace ember::ops {

namespace {

/// Whether pieces of the given extents along `axis`, one after another, all start at a whole block.
bool pieces_are_blocks(const std::vector<TensorDesc>& pieces, int axis, int block) {
  if (axis != 1) return true;
  for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
    if (pieces[i].shape[1] % block != 0) return false;
  }
  return true;
}

/// Blocked when most of the data is, and it can stay so.
Layout concat_layout(const LowerContext& c, int axis) {
  std::int64_t blocked = 0;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    if (c.constants[i] != nullptr) return Layout::Plain;
    const std::int64_t elements = c.inputs[i].shape.elements();
    total += elements;
    if (c.inputs[i].layout == Layout::Blocked) blocked += elements;
  }
  const bool mostly = blocked > 0 && 2 * blocked >= total;
  return mostly && pieces_are_blocks(c.inputs, axis, c.block()) ? Layout::Blocked : Layout::Plain;
}

LowerResult consider_concat(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  const int axis = normalize_axis(c, c.integer("axis", 0), c.outputs[0].shape.rank());
  const Layout layout = concat_layout(c, axis);
  const TensorDesc out = output_desc(c, 0, layout);
  std::vector<Move> moves;
  std::vector<Placement> placements;
  // Where nothing repeats around the axis, every input is one run of the output.
  const bool runs = out.shape.elements(0, axis) == 1;
  std::size_t offset = 0;
  std::int64_t start = 0;
  for (int i = 0; i < c.input_count(); ++i) {
    TensorDesc in = c.inputs[static_cast<std::size_t>(i)];
    in.layout = layout;
    in.block = out.block;
    if (runs && c.constants[static_cast<std::size_t>(i)] == nullptr) placements.push_back({i, offset});
    offset += in.bytes();
    BoxCopy box;
    for (int a = 0; a < out.shape.rank(); ++a)
      add_axis(box, in, a, {.count = in.shape[a]}, out, a, a == axis ? start : 0);
    moves.push_back({.input = i,
                     .constant = shared_constant(c, i),
                     .copy = StridedCopy(in.type, std::move(box), c.kernels())});
    start += in.shape[axis];
  }
  Lowered lowered{.step = make_move_step(std::move(moves)), .placements = std::move(placements)};
  lowered.input_layouts.assign(c.inputs.size(), layout);
  lowered.output_layouts = {layout};
  return lowered;
}

LowerResult consider_split(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  for (int i = 0; i < c.output_count(); ++i) {
    if (!c.has_output(i)) return Refusal{"an output is left out"};
  }
  TensorDesc in = c.inputs[0];
  const int axis = normalize_axis(c, c.integer("axis", 0), in.shape.rank());
  if (in.layout == Layout::Blocked && !pieces_are_blocks(c.outputs, axis, in.block))
    in.layout = Layout::Plain;
  std::vector<Move> moves;
  std::int64_t start = 0;
  for (int i = 0; i < c.output_count(); ++i) {
    const TensorDesc out = output_desc(c, i, in.layout);
    BoxCopy box;
    for (int a = 0; a < in.shape.rank(); ++a)
      add_axis(box, in, a, {.start = a == axis ? start : 0, .count = out.shape[a]}, out, a);
    moves.push_back({.constant = shared_constant(c, 0),
                     .output = i,
                     .copy = StridedCopy(in.type, std::move(box), c.kernels())});
    start += out.shape[axis];
  }
  Lowered lowered{.step = make_move_step(std::move(moves))};
  lowered.input_layouts.assign(c.inputs.size(), Layout::Plain);
  lowered.input_layouts[0] = in.layout;
  lowered.output_layouts.assign(c.outputs.size(), in.layout);
  return lowered;
}

}  // namespace

void add_concat_split_candidates(CandidateMap& map) {
  map["Concat"].push_back({.implementation = "strided_concat", .consider = consider_concat});
  map["Split"].push_back({.implementation = "strided_split", .consider = consider_split});
}

}  // namespace ember::ops
