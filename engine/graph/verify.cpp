#include <algorithm>
#include <set>
#include <string>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "graph/graph.hpp"

namespace ember::graph {

namespace {

[[noreturn]] void violated(const Graph& graph, NodeId node, const std::string& what) {
  throw Error(ErrorCode::Internal, "graph invariant violated: " + what,
              {.model = graph.metadata.model_name,
               .node = node == kNoNode ? std::string() : graph.label(node),
               .op = node == kNoNode ? std::string() : graph.node(node).op});
}

void verify_captures(const Graph& graph, NodeId id) {
  std::size_t expected = 0;
  for (const auto& [key, attribute] : graph.node(id).attributes) {
    const auto* sub = std::get_if<std::shared_ptr<const Graph>>(&attribute);
    if (sub == nullptr) continue;
    expected += (*sub)->captured.size();
    verify(**sub);
  }
  if (graph.node(id).captures.size() != expected) violated(graph, id, "captures do not match its subgraphs");
}

}  // namespace

void verify(const Graph& graph) {
  std::set<std::string> names;
  for (std::size_t at = 0; at < graph.value_count(); ++at) {
    const auto id = static_cast<ValueId>(at);
    const Value& value = graph.value(id);
    if (value.name.empty() || !names.insert(value.name).second) {
      violated(graph, kNoNode, fmt::format("value name '{}' is empty or not unique", value.name));
    }
    if (graph.find_value(value.name) != id)
      violated(graph, kNoNode, "the name index is stale for " + value.name);
    if (value.producer != kNoNode && std::ranges::find(graph.node(value.producer).outputs, id) ==
                                         graph.node(value.producer).outputs.end()) {
      violated(graph, value.producer, "is not the producer of " + value.name);
    }
    for (const NodeId reader : graph.users(id)) {
      const Node& node = graph.node(reader);
      if (std::ranges::find(node.inputs, id) == node.inputs.end() &&
          std::ranges::find(node.captures, id) == node.captures.end()) {
        violated(graph, reader, "is listed as a user of " + value.name + " and is not");
      }
    }
  }
  std::vector<bool> available(graph.value_count(), false);
  for (std::size_t at = 0; at < graph.value_count(); ++at) {
    available[at] = graph.value(static_cast<ValueId>(at)).constant != nullptr;
  }
  for (const ValueId id : graph.inputs) available[static_cast<std::size_t>(id)] = true;
  for (const ValueId id : graph.captured) available[static_cast<std::size_t>(id)] = true;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    for (const auto* list : {&node.inputs, &node.captures}) {
      for (const ValueId input : *list) {
        if (input == kNoValue) continue;
        if (!available[static_cast<std::size_t>(input)]) {
          violated(graph, id, "reads '" + graph.value(input).name + "' before anything produces it");
        }
        const auto& users = graph.users(input);
        if (std::ranges::find(users, id) == users.end()) {
          violated(graph, id, "is missing from the users of " + graph.value(input).name);
        }
      }
    }
    for (const ValueId output : node.outputs) {
      if (output == kNoValue) continue;
      if (graph.value(output).producer != id)
        violated(graph, id, "does not own its output " + graph.value(output).name);
      available[static_cast<std::size_t>(output)] = true;
    }
    verify_captures(graph, id);
  }
  for (const ValueId id : graph.outputs) {
    if (!available[static_cast<std::size_t>(id)])
      violated(graph, kNoNode, "nothing produces output " + graph.value(id).name);
  }
}

}  // namespace ember::graph
