#include "passes/passes.hpp"
#include "passes/rewrite.hpp"

namespace ember::passes {

// At inference Dropout keeps everything; a node asked for its mask stays.
int remove_dropouts(graph::Graph& graph) {
  return rewrite_each(graph, {"Dropout"}, [](graph::Graph& g, graph::NodeId id) {
    return output_unused(g, g.node(id), 1) && bypass(g, id);
  });
}

}  // namespace ember::passes
