#include "audit/channel_axis.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace ember::auditing {

namespace {

constexpr std::array<std::string_view, 7> kChannelsLast = {
    "MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "LayerNormalization", "LSTM", "GRU"};
constexpr std::array<std::string_view, 25> kElementwise = {
    "Add",  "Sub",  "Mul",      "Div",           "Identity",  "Dropout", "Cast",
    "Pow",  "Sqrt", "Relu",     "LeakyRelu",     "PRelu",     "Elu",     "Selu",
    "Celu", "Gelu", "Sigmoid",  "HardSigmoid",   "HardSwish", "Mish",    "Softplus",
    "Tanh", "Clip", "Softsign", "QuantizeLinear"};

bool is_one_of(std::string_view op, const auto& list) { return std::ranges::find(list, op) != list.end(); }

}  // namespace

bool channels_last(const graph::Graph& graph, graph::ValueId value) {
  while (value != graph::kNoValue && graph.value(value).producer != graph::kNoNode) {
    const graph::Node& node = graph.node(graph.value(value).producer);
    if (is_one_of(node.op, kChannelsLast)) return true;
    if (!is_one_of(node.op, kElementwise) && node.op != "DequantizeLinear") return false;
    // Residual branches agree on their axes, so any operand that is computed will do.
    const auto operand = std::ranges::find_if(
        node.inputs, [&](graph::ValueId v) { return v != graph::kNoValue && graph.constant(v) == nullptr; });
    value = operand == node.inputs.end() ? graph::kNoValue : *operand;
  }
  return false;
}

}  // namespace ember::auditing
