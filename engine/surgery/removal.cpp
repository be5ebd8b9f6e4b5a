#include "surgery/removal.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "surgery/surgeon.hpp"

namespace ember::surgery {

using graph::Graph;
using graph::kNoNode;
using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

namespace {

using Refused = std::map<NodeId, std::string>;

/// The shape that a value has when the removed slots are gone.
Shape expected_shape(const Surgeon& surgeon, ValueId id) {
  Shape shape = *surgeon.facts().shape(id);
  for (int axis = 0; axis < shape.rank(); ++axis)
    shape = shape.with(axis, surgeon.kept_in(id, axis, 0, shape[axis]));
  return shape;
}

NodeId node_named(const Graph& graph, const std::string& label) {
  for (const NodeId id : graph.order()) {
    if (graph.label(id) == label) return id;
  }
  return kNoNode;
}

/// The first node whose results are no longer what the cut makes of them, in shape.
NodeId first_misshapen(const Surgeon& surgeon, const Facts& now) {
  for (const NodeId id : surgeon.facts().graph().order()) {
    for (const ValueId output : surgeon.facts().graph().node(id).outputs) {
      if (output == kNoValue || surgeon.facts().shape(output) == nullptr) continue;
      const Shape* shape = now.shape(output);
      if (shape == nullptr || *shape != expected_shape(surgeon, output)) return id;
    }
  }
  return kNoNode;
}

bool same_elements(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() && a.shape() == b.shape() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

/// Input 1 of these follows extents that follow the cut; the shapes have been checked.
bool takes_shape(const graph::Node& node, std::size_t input) {
  return input == 1 && (node.op == "Reshape" || node.op == "Expand");
}

/// Some value computed from extents is another one now, and a node computes with it.
bool computes_with_extents(const Surgeon& surgeon, const Facts& now) {
  const Graph& graph = surgeon.facts().graph();
  for (const NodeId id : graph.order()) {
    const graph::Node& node = graph.node(id);
    const bool runs = std::ranges::any_of(
        node.outputs, [&](ValueId output) { return output != kNoValue && now.known(output) == nullptr; });
    for (std::size_t i = 0; runs && i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      if (input == kNoValue || takes_shape(node, i)) continue;
      const NodeId producer = graph.value(input).producer;
      const Tensor* before = surgeon.facts().known(input);
      const Tensor* after = now.known(input);
      if (producer == kNoNode || graph.node(producer).op == "Constant" || before == nullptr ||
          after == nullptr)
        continue;
      Tensor cut = *before;
      for (int axis = 0; axis < cut.shape().rank(); ++axis) {
        if (surgeon.touches(input, axis)) cut = take(cut, axis, surgeon.kept(input, axis));
      }
      if (!same_elements(cut, *after)) return true;
    }
  }
  return false;
}

/// What has to be refused because the cut graph does not come out as it should; empty when it does.
Refused faults(const Surgeon& surgeon, const Graph& cut) {
  const Graph& graph = surgeon.facts().graph();
  std::optional<Facts> now;
  try {
    graph::verify(cut);
    now.emplace(cut);
  } catch (const Error& error) {
    const NodeId id = node_named(graph, error.context().node);
    if (id == kNoNode || error.code() == ErrorCode::Internal) throw;
    return {
        {id, fmt::format("what it computes with its extents does not follow the cut ({})", error.reason())}};
  }
  if (const NodeId id = first_misshapen(surgeon, *now); id != kNoNode)
    return {{id, "its shape does not follow the cut"}};
  Refused refused;
  if (!computes_with_extents(surgeon, *now)) return refused;
  for (const NodeId id : graph.order()) {
    if (graph.node(id).op == "Shape" || graph.node(id).op == "Size")
      refused.emplace(id, "the network computes with the extents it reads");
  }
  return refused;
}

// ---- what became of the channels

/// The slot that a group is called by: an audited one, else what a layer makes, else the first computed.
Slot representative(const Analysis& analysis, const std::set<Slot>& made, Slot group) {
  Slot first = kNoSlot;
  for (const Slot member : analysis.structure().slots.members(group)) {
    if (made.contains(member)) return member;
    const bool computed = analysis.facts().known(analysis.structure().slots.place(member).value) == nullptr;
    if (first == kNoSlot && computed) first = member;
  }
  return first;
}

/// Slots by which channels are known to a reader of the report.
struct Names {
  std::map<Slot, const StuckChannel*> found;  ///< by slot
  std::map<Slot, const StuckChannel*> of_group;
  std::set<Slot> made;  ///< outputs of layers
};

Names names_of(const Analysis& analysis) {
  const Slots& slots = analysis.structure().slots;
  Names names;
  for (const StuckChannel& finding : analysis.findings()) {
    const Slot slot = slots.at(finding.value, finding.axis, finding.index);
    names.found.emplace(slot, &finding);
    names.of_group.emplace(slots.group(slot), &finding);
  }
  for (const LinearRead& read : analysis.structure().reads) {
    for (std::int64_t o = 0; o < read.output_count; ++o)
      names.made.insert(read.outputs + static_cast<Slot>(o));
  }
  return names;
}

std::string producer_label(const Graph& graph, ValueId value) {
  const NodeId producer = graph.value(value).producer;
  return producer == kNoNode ? "" : graph.label(producer);
}

void list_removed(const Analysis& analysis, const Selection& selection, const Names& names, Removal& result) {
  const Graph& graph = analysis.facts().graph();
  const Slots& slots = analysis.structure().slots;
  for (Slot group = 0; group < slots.count(); ++group) {
    if (slots.group(group) != group || !selection.removed()[static_cast<std::size_t>(group)]) continue;
    const auto found = names.of_group.find(group);
    Slot slot = kNoSlot;
    RemovedChannel removed;
    if (found != names.of_group.end()) {
      const StuckChannel& finding = *found->second;
      slot = slots.at(finding.value, finding.axis, finding.index);
      removed.why = to_string(finding.verdict);
      removed.constant = finding.constant;
    } else {
      slot = representative(analysis, names.made, group);
      removed.constant = selection.constant(group);
      removed.why = removed.constant ? "constant by its weights" : "not read";
    }
    const Slots::Place place = slots.place(slot);
    removed.node = producer_label(graph, place.value);
    removed.value = graph.value(place.value).name;
    removed.axis = place.axis;
    removed.index = place.index;
    result.removed.push_back(std::move(removed));
  }
}

void list_kept(const Analysis& analysis, const Selection& selection, const Names& names, Removal& result) {
  const Graph& graph = analysis.facts().graph();
  const Slots& slots = analysis.structure().slots;
  std::set<Slot> listed;  // slots, in their order: findings, and constants that a layer makes by its weights
  for (const auto& [slot, finding] : names.found) listed.insert(slot);
  for (const Slot slot : names.made) {
    if (analysis.constants().of(slot).has_value() && !names.of_group.contains(slots.group(slot)))
      listed.insert(slot);
  }
  for (const Slot slot : listed) {
    const Slot group = slots.group(slot);
    if (selection.removed()[static_cast<std::size_t>(group)]) continue;
    const Slots::Place place = slots.place(slot);
    Refusal reason = selection.why_kept(group);
    result.kept.push_back({.node = producer_label(graph, place.value),
                           .value = graph.value(place.value).name,
                           .axis = place.axis,
                           .index = place.index,
                           .holder = std::move(reason.node),
                           .why = std::move(reason.why)});
  }
}

/// Inputs of grouped convolutions, which their weights lose group by group.
void map_groups(const Analysis& analysis, const Surgeon& surgeon, Removal& result) {
  const Graph& graph = analysis.facts().graph();
  for (const GroupedRead& grouped : analysis.structure().grouped) {
    for (std::int64_t g = 0; g < grouped.groups; ++g) {
      ChannelMap map{.tensor = graph.value(graph.node(grouped.node).inputs[1]).name,
                     .axis = 1,
                     .before = grouped.inputs_per_group,
                     .kept = {},
                     .group = g};
      for (std::int64_t i = 0; i < grouped.inputs_per_group; ++i) {
        if (!surgeon.removed(grouped.inputs + static_cast<Slot>(g * grouped.inputs_per_group + i)))
          map.kept.push_back(i);
      }
      if (static_cast<std::int64_t>(map.kept.size()) != map.before) result.map.push_back(std::move(map));
    }
  }
}

void list_map(const Analysis& analysis, const Surgeon& surgeon, Removal& result) {
  const Graph& graph = analysis.facts().graph();
  for (std::size_t at = 0; at < graph.value_count(); ++at) {
    const auto id = static_cast<ValueId>(at);
    const Shape* shape = graph.is_available(id) ? analysis.facts().shape(id) : nullptr;
    for (int axis = 0; shape != nullptr && axis < shape->rank(); ++axis) {
      if (!surgeon.touches(id, axis)) continue;
      result.map.push_back({.tensor = graph.value(id).name,
                            .axis = axis,
                            .before = (*shape)[axis],
                            .kept = surgeon.kept(id, axis)});
    }
  }
  map_groups(analysis, surgeon, result);
}

/// The nodes and values that have more channels because a layer is round.
void list_rounded(const Analysis& analysis, const Selection& selection, Removal& result) {
  const Graph& graph = analysis.facts().graph();
  const Slots& slots = analysis.structure().slots;
  for (const auto& [node, groups] : selection.rounded()) {
    std::set<std::string>& touched = result.rounded[node];
    touched.insert(graph.label(node));
    for (const Slot group : groups) {
      for (const Slot member : slots.members(group)) {
        const ValueId value = slots.place(member).value;
        touched.insert(graph.value(value).name);
        if (graph.value(value).producer != kNoNode) touched.insert(graph.label(graph.value(value).producer));
        for (const NodeId user : graph.users(value)) touched.insert(graph.label(user));
      }
    }
  }
}

void note_merged(const Analysis& analysis, const Selection& selection, Removal& result) {
  const Graph& graph = analysis.facts().graph();
  for (const auto& [read, stand_in] : selection.stand_ins()) {
    std::int64_t merged = 0;
    for (std::int64_t i = 0; i < read->count; ++i) {
      const Slot slot = read->inputs + static_cast<Slot>(i);
      const auto constant = analysis.constants().of(slot);
      if (selection.removed()[static_cast<std::size_t>(slot)] && constant.has_value() &&
          *constant != read->zero)
        ++merged;
    }
    if (merged == 0) continue;
    const Slots::Place place = analysis.structure().slots.place(read->inputs + static_cast<Slot>(stand_in));
    result.notes.push_back(
        fmt::format("{}: {} constant channels that no bias can replace are merged into channel {} of '{}'",
                    graph.label(read->node), merged, place.index, graph.value(place.value).name));
  }
  std::ranges::sort(result.notes);
}

}  // namespace

Removal remove_channels(const Graph& graph, const std::vector<StuckChannel>& findings,
                        const Rounding& rounding) {
  Refused refused;
  while (true) {
    const Analysis analysis(graph, findings, refused);
    const Selection selection(analysis, rounding);
    auto cut = std::make_shared<Graph>(graph);
    Surgeon surgeon(*cut, analysis.facts(), analysis.structure(), analysis.constants(), selection.removed(),
                    selection.stand_ins());
    surgeon.operate();
    Refused found = faults(surgeon, *cut);
    std::erase_if(found, [&](const auto& entry) { return refused.contains(entry.first); });
    if (found.empty()) {
      Removal result;
      result.graph = std::move(cut);
      const Names names = names_of(analysis);
      list_removed(analysis, selection, names, result);
      list_kept(analysis, selection, names, result);
      list_map(analysis, surgeon, result);
      list_rounded(analysis, selection, result);
      note_merged(analysis, selection, result);
      return result;
    }
    refused.merge(found);
  }
}

}  // namespace ember::surgery
