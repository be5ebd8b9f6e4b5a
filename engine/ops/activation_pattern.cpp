#include "ops/activation_pattern.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "ops/activation.hpp"
#include "ops/constant_value.hpp"
#include "ops/gated_expression.hpp"
#include "ops/typed.hpp"

namespace ember::ops {

namespace {

using graph::Graph;
using graph::NodeId;
using graph::ValueId;
using kernels::Activation;
using kernels::ActivationKind;

/// What a graph does not say yet passes; a plan's graph says it.
bool has_pattern_type(const Graph& graph, ValueId value) {
  const DataType type = graph.value(value).type;
  return type == DataType::Undefined || (is_floating(type) && type != DataType::Float64);
}

std::vector<const Tensor*> constant_inputs(const Graph& graph, const graph::Node& node) {
  std::vector<const Tensor*> constants;
  for (const ValueId input : node.inputs) constants.push_back(constant_of(graph, input));
  return constants;
}

// ---- one node

/// The rank of a value: what the graph says, or what follows from the nodes before it, of which at most
/// `budget` are looked at. -1 when neither tells.
int rank_of(const Graph& graph, ValueId value, int& budget) {
  static const std::set<std::string_view> keep_rank = {"AveragePool", "BatchNormalization",
                                                       "Clip",        "Concat",
                                                       "Dropout",     "GlobalAveragePool",
                                                       "Identity",    "MaxPool",
                                                       "Pad",         "PRelu",
                                                       "Relu",        "Resize",
                                                       "Split"};
  if (value == graph::kNoValue || --budget < 0) return -1;
  if (const auto& dims = graph.value(value).dims) return static_cast<int>(dims->size());
  if (const Tensor* constant = constant_of(graph, value)) return constant->shape().rank();
  const NodeId id = graph.value(value).producer;
  if (id == graph::kNoNode || graph.node(id).inputs.empty()) return -1;
  const graph::Node& node = graph.node(id);
  if (node.op == "Gemm") return 2;
  if ((node.op == "Conv" || node.op == "ConvTranspose") && node.inputs.size() > 1) {
    const Tensor* weight = constant_of(graph, node.inputs[1]);
    return weight != nullptr ? weight->shape().rank() : -1;
  }
  if (node.op == "Add" && node.inputs.size() == 2) {
    const int left = rank_of(graph, node.inputs[0], budget);
    const int right = rank_of(graph, node.inputs[1], budget);
    return left < 0 || right < 0 ? -1 : std::max(left, right);
  }
  return keep_rank.contains(node.op) ? rank_of(graph, node.inputs[0], budget) : -1;
}

int rank_of(const Graph& graph, ValueId value) {
  int budget = 64;
  return rank_of(graph, value, budget);
}

std::optional<ActivationPattern> match_prelu(const Graph& graph, NodeId id) {
  const graph::Node& node = graph.node(id);
  if (node.inputs.size() != 2) return std::nullopt;
  const Tensor* slope = constant_of(graph, node.inputs[1]);
  if (slope == nullptr || !is_floating(slope->type()) || slope->type() == DataType::Float64)
    return std::nullopt;
  if (slope->elements() != 1) {
    const int rank = rank_of(graph, node.inputs[0]);
    if (slope_layout(slope->shape(), rank) != SlopeLayout::PerChannel) return std::nullopt;
  }
  const auto count = static_cast<std::size_t>(slope->elements());
  auto slopes = std::make_shared<std::vector<float>>((count + 15) / 16 * 16);
  dispatch_floating(NodeContext(graph, id), slope->type(), [&](auto zero) {
    const auto values = slope->data<decltype(zero)>();
    for (std::size_t i = 0; i < count; ++i) (*slopes)[i] = static_cast<float>(widen(values[i]));
  });
  return ActivationPattern{.function = {.kind = ActivationKind::PRelu,
                                        .slopes = slopes->data(),
                                        .slope_count = static_cast<std::int64_t>(count)},
                           .slopes = slopes};
}

std::optional<ActivationPattern> match_single(const Graph& graph, NodeId id) {
  const graph::Node& node = graph.node(id);
  if (node.inputs.empty() || node.outputs.empty() || node.inputs[0] == graph::kNoValue) return std::nullopt;
  if (!node.domain.empty() || !has_pattern_type(graph, node.inputs[0])) return std::nullopt;
  std::optional<ActivationPattern> found;
  if (node.op == "PRelu") {
    found = match_prelu(graph, id);
  } else if (const auto function = activation_of(NodeContext(graph, id), constant_inputs(graph, node))) {
    found = ActivationPattern{.function = *function};
  }
  if (!found) return std::nullopt;
  found->input = node.inputs[0];
  found->output = node.outputs[0];
  found->nodes = {id};
  return found;
}

// ---- several nodes

bool near(double value, double ideal, double tolerance) {
  return std::abs(value - ideal) <= tolerance * std::max(std::abs(ideal), 0.1);
}

/// ln(1 + e^x) of the input, as Softplus or written out; its nodes join the expression's.
bool is_softplus(const Graph& graph, ValueId value, GatedExpression& e) {
  const auto producer = [&](ValueId of, const char* op) {
    const NodeId id = of == graph::kNoValue ? graph::kNoNode : graph.value(of).producer;
    const bool is = id != graph::kNoNode && graph.node(id).op == op && graph.node(id).domain.empty() &&
                    !graph.node(id).inputs.empty();
    if (is) e.nodes.push_back(id);
    return is ? &graph.node(id) : nullptr;
  };
  if (const graph::Node* softplus = producer(value, "Softplus")) return softplus->inputs[0] == e.input;
  const graph::Node* log = producer(value, "Log");
  const graph::Node* sum = log != nullptr ? producer(log->inputs[0], "Add") : nullptr;
  if (sum == nullptr || sum->inputs.size() != 2) return false;
  for (std::size_t i = 0; i < 2; ++i) {
    const Tensor* one = constant_of(graph, sum->inputs[i]);
    if (one == nullptr || one->type() != DataType::Float32 || one->elements() != 1) continue;
    const graph::Node* exponential = producer(sum->inputs[1 - i], "Exp");
    e.constant_rank = std::max(e.constant_rank, one->shape().rank());
    return one->data<float>()[0] == 1.0F && exponential != nullptr && exponential->inputs[0] == e.input;
  }
  return false;
}

/// x · scale · clamp(slope · x + intercept, low, high) as x · clamp(x/6 + 1/2, 0, 1).
bool is_hard_swish(const GatedExpression& e, double slope, double intercept, double low, double high) {
  const Cubic& p = *e.argument;
  const auto is = [&](double value, double ideal) { return near(e.scale * value, ideal, e.tolerance); };
  return e.offset == 0.0 && p[2] == 0.0 && p[3] == 0.0 && is(slope * p[1], 1.0 / 6.0) &&
         is(slope * p[0] + intercept, 0.5) && is(low, 0.0) && is(high, 1.0);
}

std::optional<Activation> sigmoid_gate(const GatedExpression& e) {
  const Cubic& p = *e.argument;
  if (e.offset != 0.0 || !near(e.scale, 1.0, e.tolerance)) return std::nullopt;
  if (p[0] != 0.0 || p[2] != 0.0 || p[3] != 0.0) return std::nullopt;
  return Activation{.kind = ActivationKind::Silu, .alpha = static_cast<float>(p[1])};
}

std::optional<Activation> erf_gate(const GatedExpression& e) {
  const Cubic& p = *e.argument;
  const bool halves = near(e.offset, 0.5, e.tolerance) && near(e.scale, 0.5, e.tolerance);
  const bool root = near(p[1], 1.0 / std::numbers::sqrt2, e.tolerance);
  if (!halves || !root || p[0] != 0.0 || p[2] != 0.0 || p[3] != 0.0) return std::nullopt;
  return Activation{.kind = ActivationKind::Gelu};
}

std::optional<Activation> tanh_gate(const GatedExpression& e) {
  const Cubic& p = *e.argument;
  const double root = std::sqrt(2.0 / std::numbers::pi);
  const bool halves = near(e.offset, 0.5, e.tolerance) && near(e.scale, 0.5, e.tolerance);
  // Relative to itself: the cubic coefficient is small.
  const bool cubic = std::abs(p[3] / (root * 0.044715) - 1.0) <= 2.0 * e.tolerance;
  if (!halves || !near(p[1], root, e.tolerance) || !cubic || p[0] != 0.0 || p[2] != 0.0) return std::nullopt;
  return Activation{.kind = ActivationKind::GeluTanh};
}

/// The activation that a gated expression is, by its function.
std::optional<Activation> gated_activation(const Graph& graph, GatedExpression& e) {
  const graph::Node& node = graph.node(e.function);
  if (node.op == "Tanh" && !e.argument) {
    const bool plain = e.offset == 0.0 && near(e.scale, 1.0, e.tolerance);
    if (!plain || !is_softplus(graph, node.inputs[0], e)) return std::nullopt;
    return Activation{.kind = ActivationKind::Mish};
  }
  if (!e.argument) return std::nullopt;
  if (node.op == "Sigmoid") return sigmoid_gate(e);
  if (node.op == "Erf") return erf_gate(e);
  if (node.op == "Tanh") return tanh_gate(e);
  if (node.op != "HardSigmoid" && node.op != "Clip") return std::nullopt;
  const auto gate = activation_of(NodeContext(graph, e.function), constant_inputs(graph, node));
  if (!gate) return std::nullopt;
  const double alpha = static_cast<double>(gate->alpha);
  const double beta = static_cast<double>(gate->beta);
  const bool hard_swish = gate->kind == ActivationKind::HardSigmoid ? is_hard_swish(e, alpha, beta, 0.0, 1.0)
                                                                    : is_hard_swish(e, 1.0, 0.0, alpha, beta);
  return hard_swish ? std::optional(Activation{.kind = ActivationKind::HardSwish}) : std::nullopt;
}

/// No inner value is seen from outside.
bool is_closed(const Graph& graph, const std::set<NodeId>& nodes, NodeId last) {
  return std::ranges::all_of(nodes, [&](NodeId id) {
    return id == last || std::ranges::all_of(graph.node(id).outputs, [&](ValueId value) {
             if (value == graph::kNoValue) return true;
             return !graph.is_output(value) && std::ranges::all_of(graph.users(value), [&](NodeId user) {
               return nodes.contains(user);
             });
           });
  });
}

/// Appends the producers of node `id` that are among `pending`, then itself.
void in_order(const Graph& graph, NodeId id, std::set<NodeId>& pending, std::vector<NodeId>& sorted) {
  if (pending.erase(id) == 0) return;
  for (const ValueId input : graph.node(id).inputs) {
    if (input != graph::kNoValue) in_order(graph, graph.value(input).producer, pending, sorted);
  }
  sorted.push_back(id);
}

/// A constant of higher rank than x would raise the rank of the result.
bool keeps_rank(const Graph& graph, const GatedExpression& e) {
  const int rank = rank_of(graph, e.input);
  return e.constant_rank <= (rank >= 0 ? rank : 1);
}

std::optional<ActivationPattern> match_gated(const Graph& graph, NodeId last) {
  const graph::Node& node = graph.node(last);
  if (node.op != "Mul" && node.op != "Div") return std::nullopt;
  for (GatedExpression& e : gated_expressions(graph, last)) {
    const std::optional<Activation> function = gated_activation(graph, e);
    if (!function || !keeps_rank(graph, e) || !has_pattern_type(graph, e.input)) continue;
    std::set<NodeId> nodes(e.nodes.begin(), e.nodes.end());
    if (!is_closed(graph, nodes, last)) continue;
    ActivationPattern found{.function = *function, .input = e.input, .output = node.outputs[0]};
    in_order(graph, last, nodes, found.nodes);
    return found;
  }
  return std::nullopt;
}

}  // namespace

std::optional<ActivationPattern> match_activation(const Graph& graph, NodeId last) {
  if (auto found = match_gated(graph, last)) return found;
  return match_single(graph, last);
}

std::vector<ActivationPattern> find_activations(const Graph& graph) {
  std::vector<ActivationPattern> found;
  std::set<NodeId> taken;
  // From the end, so that a whole is met before its parts.
  for (auto id = graph.order().rbegin(); id != graph.order().rend(); ++id) {
    if (taken.contains(*id)) continue;
    if (auto pattern = match_activation(graph, *id)) {
      taken.insert(pattern->nodes.begin(), pattern->nodes.end());
      found.push_back(std::move(*pattern));
    }
  }
  std::ranges::reverse(found);
  return found;
}

const char* to_string(ActivationKind kind) {
  using enum ActivationKind;
  switch (kind) {
    case None: return "None";
    case Relu: return "Relu";
    case LeakyRelu: return "LeakyRelu";
    case PRelu: return "PRelu";
    case Elu: return "Elu";
    case Selu: return "Selu";
    case Celu: return "Celu";
    case ThresholdedRelu: return "ThresholdedRelu";
    case Gelu: return "Gelu";
    case GeluTanh: return "GeluTanh";
    case Sigmoid: return "Sigmoid";
    case HardSigmoid: return "HardSigmoid";
    case HardSwish: return "HardSwish";
    case Silu: return "Silu";
    case Mish: return "Mish";
    case Softplus: return "Softplus";
    case Softsign: return "Softsign";
    case Tanh: return "Tanh";
    case Clip: return "Clip";
  }
  return "unknown";
}

}  // namespace ember::ops
