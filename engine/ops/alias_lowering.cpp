#include "ops/strided_copy.hpp"

// Operators whose output is their input under another shape: no work at all where both share memory.

namespace ember::ops {

namespace {

/// Whether the new shape means the same memory in the blocked layout.
bool keeps_blocks(const TensorDesc& in, const Shape& out) {
  return in.layout == Layout::Blocked && out.rank() >= 3 && out[0] == in.shape[0] && out[1] == in.shape[1];
}

/// Whether the blocked memory is the plain one too: full blocks at a single position.
bool is_plain_as_well(const TensorDesc& in) {
  return in.layout == Layout::Blocked && in.shape[1] % in.block == 0 &&
         in.shape.elements(2, in.shape.rank()) == 1;
}

LowerResult consider_alias(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  if (c.outputs[0].type != c.inputs[0].type) return Refusal{"the types differ"};
  TensorDesc in = c.inputs[0];
  Lowered lowered{.in_place = 0};
  lowered.input_layouts.assign(c.inputs.size(), Layout::Plain);
  lowered.output_layouts.assign(c.outputs.size(), Layout::Plain);
  const bool blocked = keeps_blocks(in, c.outputs[0].shape);
  if (blocked) lowered.output_layouts[0] = Layout::Blocked;
  if (blocked || is_plain_as_well(in)) lowered.input_layouts[0] = Layout::Blocked;
  else in.layout = Layout::Plain;
  lowered.step = make_copy_step(shared_constant(c, 0), in.bytes());
  return lowered;
}

LowerResult consider_dropout(LowerContext& c) {
  if (c.has_output(1)) return Refusal{"the mask is wanted"};
  return consider_alias(c);
}

}  // namespace

void add_alias_candidates(CandidateMap& map) {
  for (const char* op : {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "CastLike"})
    map[op].push_back({.implementation = "alias", .consider = consider_alias});
  map["Dropout"].push_back({.implementation = "alias", .consider = consider_dropout});
}

}  // namespace ember::ops
