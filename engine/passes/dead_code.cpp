#include "passes/passes.hpp"

namespace ember::passes {

int remove_dead_code(graph::Graph& graph) { return graph.remove_dead(); }

}  // namespace ember::passes
