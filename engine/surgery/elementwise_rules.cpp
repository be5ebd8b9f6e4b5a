#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "ops/interpreter.hpp"
#include "ops/quantization.hpp"
#include "surgery/rule.hpp"
#include "surgery/surgeon.hpp"

// Operators that treat every element alone: a channel of the output goes with the same channel of every
// operand that has it, and is constant where all operands are.

namespace ember::surgery {

namespace {

using graph::kNoValue;
using graph::ValueId;

/// The operand's axis that broadcasts to an axis of the output; -1 where it has none.
int operand_axis(const Shape& operand, const Shape& output, int axis) {
  return axis - (output.rank() - operand.rank());
}

/// How many inputs are operands of equal standing; those behind them (Clip's limits) are parameters.
int operand_count(const ops::NodeContext& context) {
  static constexpr std::array<std::string_view, 5> kFirstOnly = {"Clip", "Dropout", "CastLike", "Cast",
                                                                 "Identity"};
  return std::ranges::find(kFirstOnly, context.op()) != kFirstOnly.end() ? 1 : context.input_count();
}

void link_elementwise(Linker& linker) {
  const ValueId y = linker.output(0);
  const int operands = operand_count(linker.context());
  for (int i = 0; i < operands; ++i) {
    const ValueId x = linker.input(i);
    if (x == kNoValue) continue;
    for (int axis = 0; axis < linker.shape(y).rank(); ++axis) {
      const int own = operand_axis(linker.shape(x), linker.shape(y), axis);
      if (own >= 0 && linker.shape(x)[own] == linker.shape(y)[axis]) linker.join(x, own, y, axis);
    }
  }
  for (int i = operands; i < linker.context().input_count(); ++i)
    linker.freeze_value(linker.input(i), "it is a parameter of the operator");
  for (int i = 1; i < linker.context().output_count(); ++i) {
    for (int axis = 0; linker.output(i) != kNoValue && axis < linker.shape(y).rank(); ++axis)
      linker.join(y, axis, linker.output(i), axis);
  }
}

/// The constants of one output position's operands, or nullopt with the number of an operand that is none.
struct Operands {
  std::vector<double> values;
  int live = -1;
  bool any = false;
};

Operands operands_at(const Flow& flow, int operands, int axis, std::int64_t at) {
  const Shape& output = flow.shape(flow.output(0));
  Operands found;
  for (int i = 0; i < operands; ++i) {
    const ValueId x = flow.input(i);
    const int own = operand_axis(flow.shape(x), output, axis);
    std::optional<double> constant;
    const Tensor* known = flow.facts().known(x);
    if (known != nullptr && known->elements() == 1) constant = number_at(*known, 0);
    else if (own >= 0) constant = flow.of(x, own, flow.shape(x)[own] == 1 ? 0 : at);
    found.any = found.any || (constant.has_value() && known == nullptr);
    if (!constant.has_value()) found.live = i;
    found.values.push_back(constant.value_or(NAN));
  }
  return found;
}

bool multiplies_by_zero(const Flow& flow, const Operands& operands) {
  return flow.context().op() == "Mul" && std::ranges::find(operands.values, 0.0) != operands.values.end();
}

/// Positions of an axis whose operands are all constant, evaluated at once by the operator itself.
void evaluate(Flow& flow, int operands, int axis, const std::vector<std::int64_t>& positions,
              const std::vector<Operands>& values) {
  const Shape shape{static_cast<std::int64_t>(positions.size())};
  std::vector<Tensor> made;
  std::vector<const Tensor*> inputs;
  made.reserve(static_cast<std::size_t>(operands));
  for (int i = 0; i < flow.context().input_count(); ++i) {
    if (i >= operands) {
      inputs.push_back(flow.facts().known(flow.input(i)));
      if (inputs.back() == nullptr && flow.input(i) != kNoValue) return;
      continue;
    }
    std::vector<double> column;
    for (const Operands& of : values) column.push_back(of.values[static_cast<std::size_t>(i)]);
    inputs.push_back(&made.emplace_back(tensor_of(flow.facts().type(flow.input(i)), shape, column)));
  }
  const std::vector<Tensor> outputs = ops::evaluate_node(flow.facts().graph(), flow.context().id(), inputs);
  for (std::size_t i = 0; i < positions.size(); ++i)
    flow.set(flow.output(0), axis, positions[i], number_at(outputs[0], static_cast<std::int64_t>(i)));
}

void flow_elementwise(Flow& flow) {
  const ValueId y = flow.output(0);
  const int operands = operand_count(flow.context());
  for (int i = 0; i < operands; ++i) {
    if (flow.input(i) == kNoValue) return;
  }
  for (int axis = 0; axis < flow.shape(y).rank(); ++axis) {
    if (flow.shape(y)[axis] == 1) continue;
    std::vector<std::int64_t> positions;
    std::vector<Operands> values;
    for (std::int64_t at = 0; at < flow.shape(y)[axis]; ++at) {
      Operands found = operands_at(flow, operands, axis, at);
      if (found.live < 0) {
        positions.push_back(at);
        values.push_back(std::move(found));
      } else if (multiplies_by_zero(flow, found)) {
        flow.set(y, axis, at, 0.0);
      } else if (found.any) {
        flow.lose(y, axis, at,
                  fmt::format("its operand '{}' is not constant in this channel",
                              flow.facts().graph().value(flow.input(found.live)).name));
      }
    }
    if (!positions.empty()) evaluate(flow, operands, axis, positions, values);
  }
}

// ---- QuantizeLinear, DequantizeLinear

int quantised_axis(const ops::NodeContext& context, const Shape& x) {
  return ops::normalize_axis(context, context.integer("axis", 1), x.rank());
}

bool per_channel(const Shape& scale) { return scale.rank() == 1 && scale[0] > 1; }

void link_quantisation(Linker& linker) {
  const ValueId x = linker.input(0);
  const ValueId y = linker.output(0);
  for (int axis = 0; axis < linker.shape(x).rank(); ++axis) linker.join(x, axis, y, axis);
  for (int i = 1; i < linker.context().input_count(); ++i) {
    const ValueId parameter = linker.input(i);
    if (parameter == kNoValue) continue;
    if (per_channel(linker.shape(parameter))) {
      linker.join(parameter, 0, x, quantised_axis(linker.context(), linker.shape(x)));
    } else if (linker.shape(parameter).rank() > 1) {
      linker.freeze_all("its scales are by blocks");
    }
  }
}

void flow_quantisation(Flow& flow) {
  const ValueId x = flow.input(0);
  const ValueId y = flow.output(0);
  const Tensor* scale = flow.facts().known(flow.input(1));
  const Tensor* zero = flow.facts().known(flow.input(2));
  if (scale == nullptr || scale->shape().rank() > 1 || (flow.input(2) != kNoValue && zero == nullptr)) return;
  const bool quantises = flow.context().op() == "QuantizeLinear";
  const int scaled = per_channel(scale->shape()) ? quantised_axis(flow.context(), flow.shape(x)) : -1;
  const auto parameter = [&](const Tensor* of, std::int64_t at) {
    if (of == nullptr) return 0.0;
    return number_at(*of, of->elements() == 1 ? std::int64_t{0} : at);
  };
  for (int axis = 0; axis < flow.shape(x).rank(); ++axis) {
    if (scaled >= 0 && axis != scaled) continue;
    for (std::int64_t at = 0; at < flow.shape(x)[axis]; ++at) {
      const auto constant = flow.of(x, axis, at);
      if (!constant.has_value()) continue;
      const auto by = static_cast<float>(parameter(scale, at));
      const double offset = parameter(zero, at);
      if (!quantises) {
        flow.set(y, axis, at, static_cast<double>((static_cast<float>(*constant - offset)) * by));
        continue;
      }
      const double rounded = std::nearbyint(static_cast<double>(static_cast<float>(*constant) / by));
      const double stored = ops::dispatch_quantised(flow.context(), flow.facts().type(y), [&](auto type) {
        return static_cast<double>(ops::saturate<decltype(type)>(rounded, static_cast<std::int32_t>(offset)));
      });
      flow.set(y, axis, at, stored);
    }
  }
}

constexpr std::array<std::string_view, 50> kElementwise = {
    "Add",         "Sub",      "Mul",      "Div",      "Pow",     "Min",
    "Max",         "Mean",     "Sum",      "PRelu",    "Relu",    "LeakyRelu",
    "Elu",         "Selu",     "Celu",     "Gelu",     "Sigmoid", "HardSigmoid",
    "HardSwish",   "Mish",     "Softplus", "Softsign", "Tanh",    "ThresholdedRelu",
    "Abs",         "Neg",      "Exp",      "Log",      "Sqrt",    "Reciprocal",
    "Floor",       "Ceil",     "Round",    "Erf",      "Sign",    "Sin",
    "Cos",         "Identity", "Cast",     "Not",      "Clip",    "Dropout",
    "And",         "Or",       "Equal",    "Greater",  "Less",    "GreaterOrEqual",
    "LessOrEqual", "Where"};

struct Rules {
  std::array<Rule, kElementwise.size() + 2> list;
  constexpr Rules() {
    std::size_t at = 0;
    for (const std::string_view op : kElementwise)
      list[at++] = {.op = op, .link = link_elementwise, .flow = flow_elementwise};
    for (const std::string_view op : {"QuantizeLinear", "DequantizeLinear"})
      list[at++] = {.op = op, .link = link_quantisation, .flow = flow_quantisation};
  }
};
constexpr Rules kRules;

}  // namespace

std::span<const Rule> elementwise_rules() { return kRules.list; }

}  // namespace ember::surgery
