#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ops/activation_pattern.hpp"
#include "plan/specialize.hpp"

namespace ember::plan {

using kernels::ActivationKind;

namespace {

/// The single ONNX operator that computes a multi-node activation, or "" when there is none.
graph::Node single_node(const kernels::Activation& function) {
  graph::Node node;
  switch (function.kind) {
    case ActivationKind::Silu:
      node.op = "Swish";
      node.attributes["alpha"] = function.alpha;
      break;
    case ActivationKind::HardSwish: node.op = "HardSwish"; break;
    case ActivationKind::Mish: node.op = "Mish"; break;
    case ActivationKind::Gelu:
    case ActivationKind::GeluTanh:
      node.op = "Gelu";
      node.attributes["approximate"] = std::string(function.kind == ActivationKind::Gelu ? "none" : "tanh");
      break;
    default: break;
  }
  return node;
}

}  // namespace

Labels merge_activations(Specialized& specialized, const std::set<graph::ValueId>& kept) {
  graph::Graph& graph = specialized.graph;
  Labels merged;
  for (const ops::ActivationPattern& pattern : ops::find_activations(graph)) {
    const Fact& fact = specialized.fact(pattern.output);
    if (pattern.nodes.size() < 2 || fact.type != DataType::Float32 || !fact.shape.has_value()) continue;
    const bool watched = std::ranges::any_of(pattern.nodes, [&](graph::NodeId id) {
      const graph::ValueId inner = graph.node(id).outputs[0];
      return inner != pattern.output && kept.contains(inner);
    });
    if (watched) continue;
    graph::Node node = single_node(pattern.function);
    if (node.op.empty()) continue;
    std::vector<std::string> labels;
    for (const graph::NodeId id : pattern.nodes) labels.push_back(graph.label(id));
    node.name = labels.back();
    node.inputs = {pattern.input};
    node.outputs = {pattern.output};
    // The new node takes the last one's place in the order.
    const auto& order = graph.order();
    const auto next = std::ranges::find(order, pattern.nodes.back()) + 1;
    const graph::NodeId before = next == order.end() ? graph::kNoNode : *next;
    for (const graph::NodeId id : pattern.nodes) graph.remove_node(id);
    merged.emplace(graph.add_node(std::move(node), before), std::move(labels));
  }
  return merged;
}

}  // namespace ember::plan
