#include <vector>

#include "passes/passes.hpp"
#include "passes/rewrite.hpp"

namespace ember::passes {

int remove_identities(graph::Graph& graph) {
  int changed = 0;
  const std::vector<graph::NodeId> order = graph.order();
  for (const graph::NodeId id : order) {
    if (is_op(graph.node(id), "Identity") && bypass(graph, id)) ++changed;
  }
  return changed;
}

}  // namespace ember::passes
