#include <cstddef>
#include <optional>
#include <vector>

#include "ops/concat_split.hpp"
#include "surgery/rule.hpp"
#include "surgery/surgeon.hpp"

// Concat and Split: positions of the long axis are those of the short ones, one after the other.

namespace ember::surgery {

namespace {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

int axis_of(const ops::NodeContext& context, int rank) {
  return ops::normalize_axis(context, context.integer("axis", 0), rank);
}

void link_part(Linker& linker, ValueId whole, ValueId part, int axis, std::int64_t offset) {
  for (int other = 0; other < linker.shape(whole).rank(); ++other) {
    if (other != axis) linker.join(part, other, whole, other);
  }
  linker.join(part, axis, 0, whole, axis, offset, linker.shape(part)[axis]);
}

void link_concat(Linker& linker) {
  const ValueId y = linker.output(0);
  const int axis = axis_of(linker.context(), linker.shape(y).rank());
  std::int64_t offset = 0;
  for (int i = 0; i < linker.context().input_count(); ++i) {
    link_part(linker, y, linker.input(i), axis, offset);
    offset += linker.shape(linker.input(i))[axis];
  }
}

void flow_concat(Flow& flow) {
  const ValueId y = flow.output(0);
  const int axis = axis_of(flow.context(), flow.shape(y).rank());
  std::int64_t offset = 0;
  for (int i = 0; i < flow.context().input_count(); ++i) {
    const ValueId x = flow.input(i);
    for (std::int64_t at = 0; at < flow.shape(x)[axis]; ++at) {
      if (const auto constant = flow.of(x, axis, at)) flow.set(y, axis, offset + at, *constant);
    }
    offset += flow.shape(x)[axis];
  }
}

// ---- Split

void link_split(Linker& linker) {
  const ValueId x = linker.input(0);
  const int axis = axis_of(linker.context(), linker.shape(x).rank());
  linker.freeze_value(linker.input(1), "it holds sizes");
  // Without outputs' shapes nothing is linked at all, so these are the sizes.
  std::int64_t offset = 0;
  for (int i = 0; i < linker.context().output_count(); ++i) {
    if (linker.output(i) == kNoValue) return linker.freeze_all("one of its outputs is left out");
    link_part(linker, x, linker.output(i), axis, offset);
    offset += linker.shape(linker.output(i))[axis];
  }
}

void flow_split(Flow& flow) {
  const ValueId x = flow.input(0);
  const int axis = axis_of(flow.context(), flow.shape(x).rank());
  std::int64_t offset = 0;
  for (int i = 0; i < flow.context().output_count(); ++i) {
    const ValueId y = flow.output(i);
    if (y == kNoValue) return;
    for (std::int64_t at = 0; at < flow.shape(y)[axis]; ++at) {
      if (const auto constant = flow.of(x, axis, offset + at)) flow.set(y, axis, at, *constant);
    }
    offset += flow.shape(y)[axis];
  }
}

/// States the sizes, which may no longer be equal.
void edit_split(Surgeon& surgeon, NodeId id) {
  const ops::NodeContext context(surgeon.facts().graph(), id);
  const ValueId x = context.node().inputs[0];
  if (surgeon.facts().shape(x) == nullptr) return;
  const int axis = axis_of(context, surgeon.facts().shape(x)->rank());
  if (!surgeon.touches(x, axis)) return;
  std::vector<std::int64_t> sizes;
  for (const ValueId y : context.node().outputs)
    sizes.push_back(surgeon.kept_in(y, axis, 0, (*surgeon.facts().shape(y))[axis]));
  if (context.opset() < 13) {
    surgeon.graph().node(id).attributes["split"] = sizes;
  } else if (ops::split_sizes_are_input(context)) {
    surgeon.set_integers_input(id, 1, sizes);
  } else {
    surgeon.graph().node(id).attributes.erase("num_outputs");
    Tensor stated(Shape{static_cast<std::int64_t>(sizes.size())}, sizes);
    surgeon.set_constant_input(id, 1, std::move(stated), surgeon.graph().value(x).name + "_sizes");
  }
}

constexpr Rule kRules[] = {
    {.op = "Concat", .link = link_concat, .flow = flow_concat},
    {.op = "Split", .link = link_split, .flow = flow_split, .edit = edit_split},
};

}  // namespace

std::span<const Rule> concat_rules() { return kRules; }

}  // namespace ember::surgery
