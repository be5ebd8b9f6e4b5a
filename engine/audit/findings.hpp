#pragma once

#include <map>
#include <vector>

#include <ember/audit.hpp>

#include "graph/graph.hpp"

namespace ember::auditing {

/// Dead layers and doubtful preprocessing, from the verdicts alone.
std::vector<Finding> layer_findings(const AuditReport& report);

/// The finding that the outputs were the same for all samples that counterfactuals were run on.
/// `activations`: outputs of activations, with their layers of the report.
Finding dead_network(const AuditReport& report, const graph::Graph& graph,
                     const std::map<graph::ValueId, std::size_t>& activations);

}  // namespace ember::auditing
