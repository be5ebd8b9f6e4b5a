#include "passes/passes.hpp"
#include "passes/rewrite.hpp"

namespace ember::passes {

int remove_identities(graph::Graph& graph) { return rewrite_each(graph, {"Identity"}, bypass); }

}  // namespace ember::passes
