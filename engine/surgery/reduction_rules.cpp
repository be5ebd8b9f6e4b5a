#include <string_view>
#include <vector>

#include "ops/axes.hpp"
#include "surgery/rule.hpp"

// Operators that mix positions along some axes and treat the others alone: Reduce*, Softmax,
// LayerNormalization.

namespace ember::surgery {

namespace {

using graph::kNoValue;
using graph::ValueId;

constexpr const char* kMixes = "it mixes all positions of this axis";

// ---- Reduce*, ArgMax, ArgMin

bool is_arg(const ops::NodeContext& context) { return context.op().starts_with("Arg"); }

ops::AxisSet axes_of(const ops::NodeContext& context, const Facts& facts, ValueId given, int rank,
                     bool& known) {
  known = true;
  if (is_arg(context)) return ops::axis_set(context, {context.integer("axis", 0)}, rank);
  const bool from_input = ops::reduction_axes_are_input(context);
  std::vector<std::int64_t> axes = from_input ? std::vector<std::int64_t>() : context.integers("axes");
  if (from_input && given != kNoValue) {
    const auto values = facts.integers(given);
    known = values.has_value();
    if (known) axes = *values;
  }
  return ops::reduction_axes(context, rank, from_input, axes);
}

void link_reduction(Linker& linker) {
  const ValueId x = linker.input(0);
  const ValueId y = linker.output(0);
  const int rank = linker.shape(x).rank();
  bool known = true;
  const ops::AxisSet axes = axes_of(linker.context(), linker.facts(), linker.input(1), rank, known);
  if (!known) return linker.freeze_all("its axes are computed");
  const bool keeps = linker.context().integer("keepdims", 1) != 0;
  linker.freeze_value(linker.input(1), "it names axes");
  int to = 0;
  for (int axis = 0; axis < rank; ++axis) {
    if (axes[static_cast<std::size_t>(axis)]) {
      linker.freeze_axis(x, axis, kMixes);
      if (keeps) ++to;
    } else {
      linker.join(x, axis, y, to++);
    }
  }
}

/// Of a constant, its mean, largest and smallest are the constant, and any sum of zeros is 0.
void flow_reduction(Flow& flow) {
  const ValueId x = flow.input(0);
  const std::string_view op = flow.context().op();
  const bool keeps_any = op == "ReduceMean" || op == "ReduceMax" || op == "ReduceMin";
  if (!keeps_any && op != "ReduceSum" && op != "ReduceL1" && op != "ReduceL2" && op != "ReduceSumSquare")
    return;
  bool known = true;
  const int rank = flow.shape(x).rank();
  const ops::AxisSet axes = axes_of(flow.context(), flow.facts(), flow.input(1), rank, known);
  if (!known) return;
  const bool keeps = flow.context().integer("keepdims", 1) != 0;
  int to = 0;
  for (int axis = 0; axis < rank; ++axis) {
    if (axes[static_cast<std::size_t>(axis)]) {
      if (keeps) ++to;
      continue;
    }
    for (std::int64_t i = 0; i < flow.shape(x)[axis]; ++i) {
      const auto constant = flow.of(x, axis, i);
      if (constant.has_value() && (keeps_any || *constant == 0.0)) flow.set(flow.output(0), to, i, *constant);
    }
    ++to;
  }
}

// ---- Softmax, LogSoftmax, LayerNormalization

void link_mixing(Linker& linker, int first, int last) {
  const ValueId x = linker.input(0);
  const ValueId y = linker.output(0);
  for (int axis = 0; axis < linker.shape(x).rank(); ++axis) {
    if (axis >= first && axis <= last) {
      linker.freeze_axis(x, axis, kMixes);
      linker.freeze_axis(y, axis, kMixes);
    } else {
      linker.join(x, axis, y, axis);
    }
  }
}

void link_softmax(Linker& linker) {
  const int rank = linker.shape(linker.input(0)).rank();
  const bool one_axis = linker.context().opset() >= 13;
  const int axis =
      ops::normalize_axis(linker.context(), linker.context().integer("axis", one_axis ? -1 : 1), rank);
  link_mixing(linker, axis, one_axis ? axis : rank - 1);
}

void link_layer_normalization(Linker& linker) {
  const int rank = linker.shape(linker.input(0)).rank();
  for (int i = 1; i < linker.context().output_count(); ++i) {
    if (linker.output(i) != kNoValue) return linker.freeze_all("its statistics are read");
  }
  for (int i = 1; i < linker.context().input_count(); ++i) linker.freeze_value(linker.input(i), kMixes);
  link_mixing(linker, ops::normalize_axis(linker.context(), linker.context().integer("axis", -1), rank),
              rank - 1);
}

constexpr Rule kRules[] = {
    {.op = "ReduceMean", .link = link_reduction, .flow = flow_reduction},
    {.op = "ReduceMax", .link = link_reduction, .flow = flow_reduction},
    {.op = "ReduceMin", .link = link_reduction, .flow = flow_reduction},
    {.op = "ReduceSum", .link = link_reduction, .flow = flow_reduction},
    {.op = "ReduceL1", .link = link_reduction, .flow = flow_reduction},
    {.op = "ReduceL2", .link = link_reduction, .flow = flow_reduction},
    {.op = "ReduceSumSquare", .link = link_reduction, .flow = flow_reduction},
    {.op = "ReduceProd", .link = link_reduction},
    {.op = "ReduceLogSum", .link = link_reduction},
    {.op = "ReduceLogSumExp", .link = link_reduction},
    {.op = "ArgMax", .link = link_reduction},
    {.op = "ArgMin", .link = link_reduction},
    {.op = "Softmax", .link = link_softmax},
    {.op = "LogSoftmax", .link = link_softmax},
    {.op = "LayerNormalization", .link = link_layer_normalization},
};

}  // namespace

std::span<const Rule> reduction_rules() { return kRules; }

}  // namespace ember::surgery
