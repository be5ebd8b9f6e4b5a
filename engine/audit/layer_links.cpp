#include "audit/layer_links.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>

namespace ember::auditing {

namespace {

using graph::Graph;
using graph::Node;
using graph::ValueId;

/// What a value is made of: activations, and perhaps an input of the network.
struct Origin {
  std::vector<std::int64_t> layers;  // ascending
  bool input = false;

  void add(const Origin& other) {
    input |= other.input;
    if (other.layers.empty()) return;
    std::vector<std::int64_t> both;
    std::ranges::set_union(layers, other.layers, std::back_inserter(both));
    layers = std::move(both);
  }
};

}  // namespace

std::vector<LayerLinks> link_layers(const Graph& graph, const std::vector<ops::ActivationPattern>& patterns) {
  std::vector<Origin> origins(graph.value_count());
  const auto origin = [&](ValueId id) -> Origin& { return origins[static_cast<std::size_t>(id)]; };
  for (const ValueId id : graph.inputs) origin(id).input = true;
  std::map<ValueId, std::size_t> made_by;
  for (std::size_t i = 0; i < patterns.size(); ++i) made_by[patterns[i].output] = i;
  std::vector<LayerLinks> links(patterns.size());
  for (const graph::NodeId node_id : graph.order()) {
    const Node& node = graph.node(node_id);
    Origin made;
    if (node.op != "Shape" && node.op != "Size") {
      for (const std::vector<ValueId>* read : {&node.inputs, &node.captures}) {
        for (const ValueId id : *read) {
          if (id != graph::kNoValue) made.add(origin(id));
        }
      }
    }
    for (const ValueId id : node.outputs) {
      if (id == graph::kNoValue) continue;
      const auto found = made_by.find(id);
      if (found == made_by.end()) {
        origin(id) = made;
        continue;
      }
      const Origin& before = origin(patterns[found->second].input);
      links[found->second].predecessors = before.layers;
      links[found->second].reads_input = before.input;
      origin(id) = {.layers = {static_cast<std::int64_t>(found->second)}, .input = false};
    }
  }
  for (const ValueId id : graph.outputs) {
    for (const std::int64_t layer : origin(id).layers) {
      links[static_cast<std::size_t>(layer)].feeds_output = true;
    }
  }
  return links;
}

}  // namespace ember::auditing
