#include "surgery/analysis.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember::surgery {

using graph::kNoNode;
using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

namespace {

bool shapes_known(const Facts& facts, const graph::Node& node) {
  const auto known = [&](ValueId id) { return id == kNoValue || facts.shape(id) != nullptr; };
  return std::ranges::all_of(node.inputs, known) && std::ranges::all_of(node.outputs, known);
}

void freeze_interface(const Facts& facts, Slots& slots) {
  const graph::Graph& graph = facts.graph();
  const auto freeze = [&](ValueId id, const Refusal& reason) {
    const Shape* shape = facts.shape(id);
    for (int axis = 0; shape != nullptr && axis < shape->rank(); ++axis) {
      for (std::int64_t i = 0; i < (*shape)[axis]; ++i) slots.freeze(slots.at(id, axis, i), reason);
    }
  };
  for (const ValueId id : graph.outputs) {
    const NodeId producer = graph.value(id).producer;
    freeze(id, {.node = producer == kNoNode ? "" : graph.label(producer),
                .why = fmt::format("its result '{}' is an output of the network", graph.value(id).name)});
  }
  for (const ValueId id : graph.inputs)
    freeze(id, {.node = "", .why = fmt::format("'{}' is an input of the network", graph.value(id).name)});
  for (const ValueId id : graph.captured) freeze(id, {.node = "", .why = "an outer graph gives it"});
}

}  // namespace

Analysis::Analysis(const graph::Graph& graph, std::vector<StuckChannel> findings,
                   const std::map<NodeId, std::string>& refused)
    : facts_(graph),
      structure_(facts_),
      constants_(facts_, structure_.slots),
      findings_(std::move(findings)) {
  for (const StuckChannel& finding : findings_) {
    const Shape* shape = facts_.shape(finding.value);
    if (shape != nullptr && finding.axis >= 0 && finding.axis < shape->rank() &&
        finding.index < (*shape)[finding.axis])
      continue;
    throw Error(ErrorCode::InvalidArgument,
                fmt::format("the report has a channel {} on axis {} that this tensor lacks", finding.index,
                            finding.axis),
                {.model = graph.metadata.model_name,
                 .tensor = graph.value(finding.value).name,
                 .cure = "audit this very model"});
  }
  flow();
  link(refused);
  structure_.slots.list_members();
}

void Analysis::link(const std::map<NodeId, std::string>& refused) {
  const graph::Graph& graph = facts_.graph();
  freeze_interface(facts_, structure_.slots);
  for (const NodeId id : graph.order()) {
    Linker linker(facts_, structure_, constants_, id);
    const Rule* rule = find_rule(graph.node(id));
    const auto held = refused.find(id);
    if (held != refused.end()) linker.freeze_all(held->second);
    else if (rule == nullptr)
      linker.freeze_all(fmt::format("channels are not followed through {}", graph.node(id).op));
    else if (!shapes_known(facts_, graph.node(id)))
      linker.freeze_all("its shapes are known at run time only");
    else rule->link(linker);
  }
}

void Analysis::flow() {
  const graph::Graph& graph = facts_.graph();
  std::map<ValueId, std::vector<const StuckChannel*>> found;
  for (const StuckChannel& finding : findings_) found[finding.value].push_back(&finding);
  for (const NodeId id : graph.order()) {
    const Rule* rule = find_rule(graph.node(id));
    if (rule != nullptr && rule->flow != nullptr && shapes_known(facts_, graph.node(id))) {
      Flow flow(facts_, constants_, id);
      rule->flow(flow);
    }
    for (const ValueId output : graph.node(id).outputs) {
      const auto of_output = found.find(output);
      if (of_output == found.end()) continue;
      for (const StuckChannel* finding : of_output->second) {
        // What follows from the weights alone is surer.
        if (!constants_.of(output, finding->axis, finding->index).has_value())
          constants_.set(output, finding->axis, finding->index, finding->constant);
      }
    }
  }
}

}  // namespace ember::surgery
