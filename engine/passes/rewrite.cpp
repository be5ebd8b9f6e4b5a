#include "passes/rewrite.hpp"

#include <algorithm>
#include <vector>

namespace ember::passes {

using graph::Graph;
using graph::kNoNode;
using graph::kNoValue;
using graph::Node;
using graph::NodeId;
using graph::ValueId;

bool is_op(const Node& node, std::string_view op) { return node.domain.empty() && node.op == op; }

ValueId input_of(const Node& node, std::size_t i) {
  return i < node.inputs.size() ? node.inputs[i] : kNoValue;
}

bool output_unused(const Graph& graph, const Node& node, std::size_t i) {
  const ValueId value = i < node.outputs.size() ? node.outputs[i] : kNoValue;
  return value == kNoValue || (graph.users(value).empty() && !graph.is_output(value));
}

NodeId sole_producer(const Graph& graph, ValueId value, NodeId reader) {
  if (value == kNoValue || graph.users(value).size() != 1 || graph.is_output(value)) return kNoNode;
  const Node& node = graph.node(reader);
  const auto reads = std::ranges::count(node.inputs, value) + std::ranges::count(node.captures, value);
  return reads == 1 ? graph.value(value).producer : kNoNode;
}

bool bypass(Graph& graph, NodeId id) {
  const ValueId from = graph.node(id).outputs.empty() ? kNoValue : graph.node(id).outputs[0];
  const ValueId to = input_of(graph.node(id), 0);
  if (from == kNoValue || to == kNoValue) return false;
  const bool renames = graph.is_output(from);
  if (renames && (graph.value(to).producer == kNoNode || graph.is_output(to))) return false;
  graph.replace_uses(from, to);
  graph.remove_node(id);
  return true;
}

void absorb(Graph& graph, NodeId node, NodeId follower) {
  const ValueId result = graph.node(follower).outputs[0];
  graph.remove_node(follower);
  graph.set_output(node, 0, result);
}

int rewrite_each(Graph& graph, std::initializer_list<std::string_view> operators,
                 bool (*rewrite)(Graph&, NodeId)) {
  int changed = 0;
  const std::vector<NodeId> order = graph.order();
  for (const NodeId id : order) {
    const bool wanted =
        std::ranges::any_of(operators, [&](std::string_view op) { return is_op(graph.node(id), op); });
    if (wanted && rewrite(graph, id)) ++changed;
  }
  return changed;
}

}  // namespace ember::passes
