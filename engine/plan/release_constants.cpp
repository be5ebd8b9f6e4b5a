#include <set>

#include "plan/plan.hpp"

namespace ember::plan {

using graph::ValueId;

void release_constants(Plan& plan) {
  graph::Graph& graph = plan.network.graph;
  std::set<ValueId> read;
  for (const PlannedStep& step : plan.steps) {
    if (step.kind != PlannedStep::Kind::Reference && step.kind != PlannedStep::Kind::Dynamic) continue;
    const graph::Node& node = graph.node(step.node_id);
    read.insert(node.inputs.begin(), node.inputs.end());
    read.insert(node.captures.begin(), node.captures.end());
  }
  for (std::size_t at = 0; at < graph.value_count(); ++at) {
    const auto id = static_cast<ValueId>(at);
    if (!read.contains(id)) graph.value(id).constant.reset();
  }
}

}  // namespace ember::plan
