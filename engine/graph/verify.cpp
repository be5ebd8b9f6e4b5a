#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

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

using Link = std::pair<ValueId, NodeId>;

/// Values with their readers, or with their producers, as the nodes have it: sorted, each once.
std::vector<Link> links_of_nodes(const Graph& graph, bool reads) {
  std::vector<Link> links;
  const auto add = [&](const std::vector<ValueId>& values, NodeId node) {
    for (const ValueId value : values) {
      if (value != kNoValue) links.emplace_back(value, node);
    }
  };
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (!reads) {
      add(node.outputs, id);
      continue;
    }
    add(node.inputs, id);
    add(node.captures, id);
  }
  std::ranges::sort(links);
  const auto repeated = std::ranges::unique(links);
  links.erase(repeated.begin(), repeated.end());
  return links;
}

/// The same as the values have it. Sorting both keeps the comparison cheap for values with many users.
std::vector<Link> links_of_values(const Graph& graph, bool reads) {
  std::vector<Link> links;
  for (std::size_t at = 0; at < graph.value_count(); ++at) {
    const auto id = static_cast<ValueId>(at);
    if (reads) {
      for (const NodeId reader : graph.users(id)) links.emplace_back(id, reader);
    } else if (graph.value(id).producer != kNoNode) {
      links.emplace_back(id, graph.value(id).producer);
    }
  }
  std::ranges::sort(links);
  return links;
}

void verify_links(const Graph& graph, bool reads) {
  const std::vector<Link> of_nodes = links_of_nodes(graph, reads);
  const std::vector<Link> of_values = links_of_values(graph, reads);
  const auto [in_nodes, in_values] = std::ranges::mismatch(of_nodes, of_values);
  if (in_nodes == of_nodes.end() && in_values == of_values.end()) return;
  const bool missing = in_values == of_values.end() || (in_nodes != of_nodes.end() && *in_nodes < *in_values);
  const auto& [value, node] = missing ? *in_nodes : *in_values;
  violated(graph, node,
           fmt::format("{} '{}', and {} does not say so", reads ? "reads" : "produces",
                       graph.value(value).name, missing ? "the value" : "the node"));
}

void verify_names(const Graph& graph) {
  std::set<std::string> names;
  for (std::size_t at = 0; at < graph.value_count(); ++at) {
    const std::string& name = graph.value(static_cast<ValueId>(at)).name;
    if (name.empty() || !names.insert(name).second) {
      violated(graph, kNoNode, fmt::format("value name '{}' is empty or not unique", name));
    }
    if (graph.find_value(name) != static_cast<ValueId>(at)) {
      violated(graph, kNoNode, "the name index is stale for " + name);
    }
  }
}

}  // namespace

void verify(const Graph& graph) {
  verify_names(graph);
  verify_links(graph, true);
  verify_links(graph, false);
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
        if (input != kNoValue && !available[static_cast<std::size_t>(input)]) {
          violated(graph, id, "reads '" + graph.value(input).name + "' before anything produces it");
        }
      }
    }
    for (const ValueId output : node.outputs) {
      if (output != kNoValue) available[static_cast<std::size_t>(output)] = true;
    }
    verify_captures(graph, id);
  }
  for (const ValueId id : graph.outputs) {
    if (!available[static_cast<std::size_t>(id)]) {
      violated(graph, kNoNode, "nothing produces output " + graph.value(id).name);
    }
  }
}

}  // namespace ember::graph
