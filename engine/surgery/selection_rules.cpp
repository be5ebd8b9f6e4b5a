#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "ops/pad.hpp"
#include "ops/slice.hpp"
#include "surgery/rule.hpp"
#include "surgery/surgeon.hpp"

// Slice, Gather and Pad: an axis of the output shows some positions of the input's, and perhaps others that
// are constant.

namespace ember::surgery {

namespace {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;
using Integers = std::vector<std::int64_t>;

/// Follows output position -> input position (-1: none) along an axis.
void link_positions(Linker& linker, int axis, const Integers& source) {
  const ValueId x = linker.input(0);
  const ValueId y = linker.output(0);
  for (std::size_t o = 0; o < source.size(); ++o) {
    if (source[o] >= 0) linker.join(x, axis, source[o], y, axis, static_cast<std::int64_t>(o), 1);
  }
}

// ---- Slice

std::optional<ops::ResolvedSlice> slice_of(const ops::NodeContext& context, const Facts& facts) {
  const Shape& x = *facts.shape(context.node().inputs[0]);
  if (context.opset() < 10) return ops::resolve_slice(context, x, ops::slice_attributes(context));
  bool known = true;
  const ops::SliceArguments arguments = ops::slice_inputs(context, [&](int i) {
    auto values = facts.integers(context.node().inputs[static_cast<std::size_t>(i)]);
    known = known && values.has_value();
    return values.value_or(Integers());
  });
  if (!known) return std::nullopt;
  return ops::resolve_slice(context, x, arguments);
}

bool whole(const ops::ResolvedSlice& slice, const Shape& x, int axis) {
  const auto at = static_cast<std::size_t>(axis);
  return slice.start[at] == 0 && slice.step[at] == 1 && slice.shape[axis] == x[axis];
}

void link_slice(Linker& linker) {
  const auto slice = slice_of(linker.context(), linker.facts());
  if (!slice.has_value()) return linker.freeze_all("its bounds are computed");
  for (int i = 1; i < linker.context().input_count(); ++i)
    linker.freeze_value(linker.input(i), "it holds bounds");
  for (int axis = 0; axis < slice->shape.rank(); ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    if (slice->step[at] != 1) {
      linker.freeze_axis(linker.input(0), axis, "it takes every so many positions of this axis");
      linker.freeze_axis(linker.output(0), axis, "it takes every so many positions of this axis");
      continue;
    }
    linker.join(linker.input(0), axis, slice->start[at], linker.output(0), axis, 0, slice->shape[axis]);
  }
}

void flow_slice(Flow& flow) {
  const auto slice = slice_of(flow.context(), flow.facts());
  if (!slice.has_value()) return;
  for (int axis = 0; axis < slice->shape.rank(); ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    for (std::int64_t o = 0; o < slice->shape[axis]; ++o) {
      const auto constant = flow.of(flow.input(0), axis, slice->start[at] + o * slice->step[at]);
      if (constant.has_value()) flow.set(flow.output(0), axis, o, *constant);
    }
  }
}

/// New bounds for an axis that is cut, in the place of the old.
void edit_slice(Surgeon& surgeon, NodeId id) {
  const ops::NodeContext context(surgeon.facts().graph(), id);
  const ValueId x = context.node().inputs[0];
  if (surgeon.facts().shape(x) == nullptr || surgeon.facts().shape(context.node().outputs[0]) == nullptr)
    return;
  const auto slice = slice_of(context, surgeon.facts());
  if (!slice.has_value()) return;
  const Shape& shape = *surgeon.facts().shape(x);
  const bool from_attributes = context.opset() < 10;
  ops::SliceArguments arguments =
      from_attributes ? ops::slice_attributes(context) : ops::slice_inputs(context, [&](int i) {
        return *surgeon.facts().integers(context.node().inputs[static_cast<std::size_t>(i)]);
      });
  bool cut = false;
  for (std::size_t i = 0; i < arguments.starts.size(); ++i) {
    const int axis = ops::normalize_axis(
        context, arguments.axes ? (*arguments.axes)[i] : static_cast<std::int64_t>(i), shape.rank());
    if (!surgeon.touches(x, axis) || whole(*slice, shape, axis)) continue;
    const std::int64_t start = slice->start[static_cast<std::size_t>(axis)];
    arguments.starts[i] = surgeon.kept_in(x, axis, 0, start);
    arguments.ends[i] = arguments.starts[i] + surgeon.kept_in(x, axis, start, start + slice->shape[axis]);
    cut = true;
  }
  if (!cut) return;
  if (from_attributes) {
    surgeon.graph().node(id).attributes["starts"] = arguments.starts;
    surgeon.graph().node(id).attributes["ends"] = arguments.ends;
  } else {
    surgeon.set_integers_input(id, 1, arguments.starts);
    surgeon.set_integers_input(id, 2, arguments.ends);
  }
}

// ---- Gather

/// The positions that a Gather of constant indices takes along its axis.
std::optional<Integers> gathered(const ops::NodeContext& context, const Facts& facts, int& axis) {
  const Shape& x = *facts.shape(context.node().inputs[0]);
  const Tensor* indices = facts.known(context.node().inputs[1]);
  axis = ops::normalize_axis(context, context.integer("axis", 0), x.rank());
  if (indices == nullptr || indices->shape().rank() != 1) return std::nullopt;
  Integers positions = *facts.integers(context.node().inputs[1]);
  for (std::int64_t& at : positions) at += at < 0 ? x[axis] : 0;
  return positions;
}

void link_gather(Linker& linker) {
  int axis = 0;
  const auto positions = gathered(linker.context(), linker.facts(), axis);
  if (!positions.has_value()) return linker.freeze_all("its indices are no constant list");
  // The indices themselves are cut with the output.
  linker.join(linker.input(1), 0, linker.output(0), axis);
  for (int other = 0; other < linker.shape(linker.input(0)).rank(); ++other) {
    if (other != axis) linker.join(linker.input(0), other, linker.output(0), other);
  }
  link_positions(linker, axis, *positions);
}

void flow_gather(Flow& flow) {
  int axis = 0;
  const auto positions = gathered(flow.context(), flow.facts(), axis);
  if (!positions.has_value()) return;
  for (std::size_t o = 0; o < positions->size(); ++o) {
    const auto constant = flow.of(flow.input(0), axis, (*positions)[o]);
    if (constant.has_value()) flow.set(flow.output(0), axis, static_cast<std::int64_t>(o), *constant);
  }
  for (int other = 0; other < flow.shape(flow.input(0)).rank(); ++other) {
    if (other != axis) flow.copy_axis(flow.input(0), other, flow.output(0), other);
  }
}

/// The indices of what stays, counted among what stays.
void edit_gather(Surgeon& surgeon, NodeId id) {
  const ops::NodeContext context(surgeon.facts().graph(), id);
  const ValueId x = context.node().inputs[0];
  const ValueId y = context.node().outputs[0];
  if (surgeon.facts().shape(x) == nullptr || surgeon.facts().shape(y) == nullptr) return;
  int axis = 0;
  const auto positions = gathered(context, surgeon.facts(), axis);
  if (!positions.has_value() || !surgeon.touches(x, axis)) return;
  Integers indices;
  for (const std::int64_t o : surgeon.kept(y, axis))
    indices.push_back(surgeon.kept_in(x, axis, 0, (*positions)[static_cast<std::size_t>(o)]));
  surgeon.set_integers_input(id, 1, indices);
}

// ---- Pad

struct PadPlan {
  ops::Padding padding;
  ops::PadMode mode = ops::PadMode::Constant;
  std::optional<double> value;  ///< of what is added, where it is known
  Integers pads;                ///< as stated
  Integers axes;                ///< one per begin in `pads`
};

std::optional<PadPlan> pad_of(const ops::NodeContext& context, const Facts& facts) {
  const Shape& x = *facts.shape(context.node().inputs[0]);
  const auto input = [&](std::size_t i) {
    return i < context.node().inputs.size() ? context.node().inputs[i] : kNoValue;
  };
  PadPlan plan{.padding = {}, .mode = ops::pad_mode(context), .value = 0.0, .pads = {}, .axes = {}};
  std::optional<Integers> axes;
  if (context.opset() < 11) {
    plan.pads = context.integers("pads");
    plan.value = static_cast<double>(context.real("value", 0.0F));
  } else {
    const auto pads = facts.integers(input(1));
    if (!pads.has_value()) return std::nullopt;
    plan.pads = *pads;
    if (input(2) != kNoValue) {
      const Tensor* value = facts.known(input(2));
      plan.value = value == nullptr ? std::nullopt : std::optional(number_at(*value, 0));
    }
    if (input(3) != kNoValue) {
      axes = facts.integers(input(3));
      if (!axes.has_value()) return std::nullopt;
    }
  }
  plan.padding = ops::resolve_padding(context, x, plan.pads, axes);
  for (std::size_t i = 0; i < plan.pads.size() / 2; ++i) {
    const std::int64_t axis = axes ? (*axes)[i] : static_cast<std::int64_t>(i);
    plan.axes.push_back(ops::normalize_axis(context, axis, x.rank()));
  }
  return plan;
}

bool pads_axis(const PadPlan& plan, const Shape& x, int axis) {
  const auto at = static_cast<std::size_t>(axis);
  return plan.padding.before[at] != 0 || plan.padding.crop_begin[at] != 0 ||
         plan.padding.shape[axis] != x[axis];
}

/// Output position -> input position, -1 for the constant.
Integers sources(const PadPlan& plan, int axis) {
  const auto at = static_cast<std::size_t>(axis);
  Integers source;
  for (std::int64_t o = 0; o < plan.padding.shape[axis]; ++o) {
    const std::int64_t from =
        ops::padded_source(plan.mode, o - plan.padding.before[at], plan.padding.kept[at]);
    source.push_back(from < 0 ? -1 : plan.padding.crop_begin[at] + from);
  }
  return source;
}

void link_pad(Linker& linker) {
  const auto plan = pad_of(linker.context(), linker.facts());
  if (!plan.has_value()) return linker.freeze_all("its pads are computed");
  for (int i = 1; i < linker.context().input_count(); ++i)
    linker.freeze_value(linker.input(i), "it holds pads");
  const Shape& x = linker.shape(linker.input(0));
  for (int axis = 0; axis < x.rank(); ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    const bool cuttable = plan->mode == ops::PadMode::Constant && plan->padding.crop_begin[at] == 0 &&
                          plan->padding.kept[at] == x[axis];
    if (!pads_axis(*plan, x, axis)) {
      linker.join(linker.input(0), axis, linker.output(0), axis);
    } else if (!cuttable) {
      linker.freeze_axis(linker.input(0), axis, "it repeats or crops positions of this axis");
      linker.freeze_axis(linker.output(0), axis, "it repeats or crops positions of this axis");
    } else {
      link_positions(linker, axis, sources(*plan, axis));
    }
  }
}

void flow_pad(Flow& flow) {
  const auto plan = pad_of(flow.context(), flow.facts());
  if (!plan.has_value()) return;
  const Shape& x = flow.shape(flow.input(0));
  for (int axis = 0; axis < x.rank(); ++axis) {
    bool others = false;  // padding along another axis puts the value beside the constant
    for (int other = 0; other < x.rank(); ++other)
      others = others || (other != axis && pads_axis(*plan, x, other));
    const bool mixes = others && plan->mode == ops::PadMode::Constant;
    const Integers source = sources(*plan, axis);
    for (std::size_t o = 0; o < source.size(); ++o) {
      const auto constant = source[o] < 0 ? plan->value : flow.of(flow.input(0), axis, source[o]);
      if (!constant.has_value()) continue;
      const auto at = static_cast<std::int64_t>(o);
      if (mixes && constant != plan->value)
        flow.lose(flow.output(0), axis, at, "it pads the constant with another value");
      else flow.set(flow.output(0), axis, at, *constant);
    }
  }
}

/// Fewer positions are added where some of them are cut.
void edit_pad(Surgeon& surgeon, NodeId id) {
  const ops::NodeContext context(surgeon.facts().graph(), id);
  const ValueId x = context.node().inputs[0];
  const ValueId y = context.node().outputs[0];
  if (surgeon.facts().shape(x) == nullptr || surgeon.facts().shape(y) == nullptr) return;
  auto plan = pad_of(context, surgeon.facts());
  if (!plan.has_value()) return;
  bool cut = false;
  for (std::size_t i = 0; i < plan->axes.size(); ++i) {
    const int axis = static_cast<int>(plan->axes[i]);
    if (!surgeon.touches(y, axis) || !pads_axis(*plan, *surgeon.facts().shape(x), axis)) continue;
    const std::int64_t before = plan->padding.before[static_cast<std::size_t>(axis)];
    const std::int64_t end = before + (*surgeon.facts().shape(x))[axis];
    plan->pads[i] = surgeon.kept_in(y, axis, 0, before);
    plan->pads[i + plan->axes.size()] = surgeon.kept_in(y, axis, end, plan->padding.shape[axis]);
    cut = true;
  }
  if (!cut) return;
  if (context.opset() < 11) surgeon.graph().node(id).attributes["pads"] = plan->pads;
  else surgeon.set_integers_input(id, 1, plan->pads);
}

constexpr Rule kRules[] = {
    {.op = "Slice", .link = link_slice, .flow = flow_slice, .edit = edit_slice},
    {.op = "Gather", .link = link_gather, .flow = flow_gather, .edit = edit_gather},
    {.op = "Pad", .link = link_pad, .flow = flow_pad, .edit = edit_pad},
};

}  // namespace

std::span<const Rule> selection_rules() { return kRules; }

}  // namespace ember::surgery
