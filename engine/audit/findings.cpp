#include "audit/findings.hpp"

#include <algorithm>
#include <set>

#include "audit/upstream.hpp"

namespace ember::auditing {

namespace {

using graph::kNoNode;
using graph::kNoValue;
using graph::ValueId;

std::int64_t silent(const LayerReport& layer) { return std::ranges::count_if(layer.channels, never_fired); }

bool wholly_dead(const LayerReport& layer) {
  return !layer.channels.empty() && silent(layer) == static_cast<std::int64_t>(layer.channels.size());
}

/// No path leads from an input to an output but through one of `cut`.
bool cuts(const graph::Graph& graph, const std::set<ValueId>& cut) {
  std::set<ValueId> seen;
  std::vector<ValueId> waiting = graph.outputs;
  while (!waiting.empty()) {
    const ValueId value = waiting.back();
    waiting.pop_back();
    if (value == kNoValue || cut.contains(value) || !seen.insert(value).second) continue;
    if (graph.is_input(value)) return false;
    if (graph.value(value).producer == kNoNode) continue;
    const graph::Node& node = graph.node(graph.value(value).producer);
    waiting.insert(waiting.end(), node.inputs.begin(), node.inputs.end());
    waiting.insert(waiting.end(), node.captures.begin(), node.captures.end());
  }
  return true;
}

}  // namespace

std::vector<Finding> layer_findings(const AuditReport& report) {
  std::vector<Finding> findings;
  for (const LayerReport& layer : report.layers()) {
    if (!wholly_dead(layer)) continue;
    findings.push_back({.kind = Finding::Kind::DeadLayer,
                        .node = layer.node,
                        .channels = silent(layer),
                        .samples = report.samples});
  }
  if (report.layers().empty()) return findings;
  const LayerReport& front = report.layers().front();
  if (2 * silent(front) > static_cast<std::int64_t>(front.channels.size())) {
    findings.push_back({.kind = Finding::Kind::Preprocessing,
                        .node = front.node,
                        .channels = silent(front),
                        .samples = report.samples});
  }
  return findings;
}

Finding dead_network(const AuditReport& report, const graph::Graph& graph,
                     const std::map<ValueId, std::size_t>& activations) {
  Finding finding{.kind = Finding::Kind::DeadNetwork, .samples = report.explain_samples};
  std::map<std::size_t, ValueId> outputs;  // in the order of the report
  for (const auto& [value, layer] : activations) outputs[layer] = value;
  for (const auto& [index, value] : outputs) {
    const LayerReport& layer = report.layers()[index];
    if (!wholly_dead(layer) || !cuts(graph, {value})) continue;
    finding.node = layer.node;
    break;
  }
  return finding;
}

}  // namespace ember::auditing
