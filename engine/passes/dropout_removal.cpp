#include <vector>

#include "passes/passes.hpp"
#include "passes/rewrite.hpp"

namespace ember::passes {

// At inference Dropout keeps everything; a node asked for its mask stays.
int remove_dropouts(graph::Graph& graph) {
  int changed = 0;
  const std::vector<graph::NodeId> order = graph.order();
  for (const graph::NodeId id : order) {
    const graph::Node& node = graph.node(id);
    if (is_op(node, "Dropout") && output_unused(graph, node, 1) && bypass(graph, id)) ++changed;
  }
  return changed;
}

}  // namespace ember::passes
