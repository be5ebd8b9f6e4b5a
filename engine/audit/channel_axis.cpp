#include "audit/channel_axis.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <variant>
#include <vector>

namespace ember::auditing {

namespace {

constexpr std::array<std::string_view, 7> kChannelsLast = {
    "MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "LayerNormalization", "LSTM", "GRU"};
constexpr std::array<std::string_view, 26> kElementwise = {"Add",
                                                           "Sub",
                                                           "Mul",
                                                           "Div",
                                                           "Identity",
                                                           "Dropout",
                                                           "Cast",
                                                           "Pow",
                                                           "Sqrt",
                                                           "Relu",
                                                           "LeakyRelu",
                                                           "PRelu",
                                                           "Elu",
                                                           "Selu",
                                                           "Celu",
                                                           "Gelu",
                                                           "Sigmoid",
                                                           "HardSigmoid",
                                                           "HardSwish",
                                                           "Mish",
                                                           "Softplus",
                                                           "Tanh",
                                                           "Clip",
                                                           "Softsign",
                                                           "QuantizeLinear",
                                                           "DequantizeLinear"};

bool is_one_of(std::string_view op, const auto& list) { return std::ranges::find(list, op) != list.end(); }

/// The node that makes a value, or nullptr.
const graph::Node* producer(const graph::Graph& graph, graph::ValueId value) {
  if (value == graph::kNoValue || graph.value(value).producer == graph::kNoNode) return nullptr;
  return &graph.node(graph.value(value).producer);
}

bool after_transpose(const graph::Graph& graph, const graph::Node& transpose) {
  const auto found = transpose.attributes.find("perm");
  if (found == transpose.attributes.end()) return false;
  const auto* perm = std::get_if<std::vector<std::int64_t>>(&found->second);
  if (perm == nullptr || perm->size() < 3) return false;
  const auto last = static_cast<std::int64_t>(perm->size()) - 1;
  const bool input_last = channels_last(graph, transpose.inputs[0]);
  return perm->back() == (input_last ? last : 1);
}

}  // namespace

bool channels_last(const graph::Graph& graph, graph::ValueId value) {
  while (const graph::Node* node = producer(graph, value)) {
    if (is_one_of(node->op, kChannelsLast)) return true;
    if (node->op == "Transpose") return after_transpose(graph, *node);
    if (node->op == "Reshape") {
      // Keeps the last axis where a transposition has just put it there; otherwise it tells nothing.
      value = node->inputs[0];
      const graph::Node* before = producer(graph, value);
      if (before == nullptr || (before->op != "Transpose" && before->op != "Reshape")) return false;
      continue;
    }
    if (!is_one_of(node->op, kElementwise)) return false;
    // Residual branches agree on their axes, so any operand that is computed will do.
    const auto operand = std::ranges::find_if(
        node->inputs, [&](graph::ValueId v) { return v != graph::kNoValue && graph.constant(v) == nullptr; });
    value = operand == node->inputs.end() ? graph::kNoValue : *operand;
  }
  return false;
}

}  // namespace ember::auditing
