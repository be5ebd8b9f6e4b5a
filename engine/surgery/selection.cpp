#include "surgery/selection.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include <fmt/format.h>

namespace ember::surgery {

using graph::kNoNode;
using graph::ValueId;

Selection::Selection(const Analysis& analysis, Rounding rounding)
    : analysis_(analysis), slots_(analysis.structure().slots), rounding_(std::move(rounding)) {
  for (const LinearRead& read : analysis.structure().reads) {
    for (std::int64_t i = 0; i < read.count; ++i)
      uses_[slots_.group(read.inputs + static_cast<Slot>(i))].emplace_back(&read, i);
  }
  find_candidates();
  // What has to stay after all makes others stay, so each time everything is found anew.
  do settle();
  while (merge_constants() || keep_one_each() || balance_groups() || round_layers());
  any_ = std::ranges::find(removed_, true) != removed_.end();
}

void Selection::find_candidates() {
  for (Slot group = 0; group < slots_.count(); ++group) {
    if (slots_.group(group) != group || slots_.frozen(group) != nullptr) continue;
    bool computed = false;
    bool alone = false;
    for (const Slot member : slots_.members(group)) {
      const Slots::Place place = slots_.place(member);
      computed = computed || analysis_.facts().known(place.value) == nullptr;
      alone = alone || (*analysis_.facts().shape(place.value))[place.axis] == 1;
    }
    if (alone) kept_.emplace(group, Refusal{.node = "", .why = "it is the only channel"});
    else if (computed) candidates_.push_back(group);
  }
}

bool Selection::harmless(const LinearRead& read, std::int64_t input) const {
  const auto constant = analysis_.constants().of(read.inputs + static_cast<Slot>(input));
  if (constant == read.zero) return true;
  if (read.other != kNoSlot && analysis_.constants().of(read.other + static_cast<Slot>(input)) == 0.0)
    return true;
  if (read.weights == nullptr) return false;
  if (constant.has_value() && read.no_fold.empty()) return true;
  if (const auto stand_in = stand_ins_.find(&read);
      constant.has_value() && stand_in != stand_ins_.end() && stand_in->second != input)
    return true;
  const std::int64_t first = read.first_output(input);
  for (std::int64_t o = first; o < first + read.outputs_per_group(); ++o) {
    if (!gone(read.outputs + static_cast<Slot>(o)) && read.connects(input, o)) return false;
  }
  return true;
}

bool Selection::removable(Slot group) const {
  const auto uses = uses_.find(group);
  return uses == uses_.end() ||
         std::ranges::all_of(uses->second, [&](const Use& use) { return harmless(*use.first, use.second); });
}

void Selection::settle() {
  removed_.assign(static_cast<std::size_t>(slots_.count()), false);
  const auto set = [&](Slot group, bool gone) {
    for (const Slot member : slots_.members(group)) removed_[static_cast<std::size_t>(member)] = gone;
  };
  // All go until one that stays reads them: channels that only read each other go together.
  for (const Slot group : candidates_) set(group, !kept_.contains(group));
  for (bool changed = true; changed;) {
    changed = false;
    // Readers come after what they read: backwards, one round does for a chain.
    for (auto group = candidates_.rbegin(); group != candidates_.rend(); ++group) {
      if (!gone(*group) || removable(*group)) continue;
      set(*group, false);
      changed = true;
    }
  }
}

bool Selection::mergeable(const LinearRead& read, std::int64_t input) const {
  return read.own_weights != graph::kNoValue && !read.no_fold.empty() && read.groups == 1 &&
         !gone(read.inputs + static_cast<Slot>(input)) &&
         analysis_.constants().of(read.inputs + static_cast<Slot>(input)).has_value() &&
         !harmless(read, input);
}

std::pair<bool, std::size_t> Selection::standing(Slot group) const {
  bool stays = slots_.frozen(group) != nullptr || kept_.contains(group);
  std::size_t reads = 0;
  for (const auto& [read, input] : uses_.at(group)) {
    if (mergeable(*read, input)) ++reads;
    else stays = stays || !harmless(*read, input);
  }
  return {stays, reads};
}

/// Behind zero padding a constant is no number that a bias could take over, but all such constants are the
/// same picture: one of them, and the others' weights scaled to it.
bool Selection::merge_constants() {
  // What goes further down may leave a read with nothing to give its constants to, so one at a time from
  // there.
  const std::vector<LinearRead>& reads = analysis_.structure().reads;
  for (auto at = reads.rbegin(); at != reads.rend(); ++at) {
    const LinearRead& read = *at;
    if (read.own_weights == graph::kNoValue || read.no_fold.empty() || stand_ins_.contains(&read)) continue;
    std::int64_t best = -1;
    std::pair<bool, std::size_t> most;
    std::set<Slot> groups;
    for (std::int64_t i = 0; i < read.count; ++i) {
      if (!mergeable(read, i)) continue;
      const Slot group = slots_.group(read.inputs + static_cast<Slot>(i));
      groups.insert(group);
      const auto worth = standing(group);
      if (best < 0 || worth > most) {
        best = i;
        most = worth;
      }
    }
    // One stays, so it takes two.
    if (groups.size() < 2) continue;
    stand_ins_.emplace(&read, best);
    keep(read.inputs + static_cast<Slot>(best), analysis_.facts().graph().label(read.node),
         "it stands for all constant channels that the node reads and that no bias can replace");
    return true;
  }
  return false;
}

void Selection::keep(Slot slot, const std::string& node, const std::string& why) {
  kept_.emplace(slots_.group(slot), Refusal{.node = node, .why = why});
}

bool Selection::keep_one_each() {
  const graph::Graph& graph = analysis_.facts().graph();
  // From the outputs back: what one layer keeps may be what the layer before it keeps.
  std::vector<ValueId> values;
  const std::vector<graph::NodeId>& order = graph.order();
  for (auto node = order.rbegin(); node != order.rend(); ++node) {
    const std::vector<ValueId>& outputs = graph.node(*node).outputs;
    values.insert(values.end(), outputs.begin(), outputs.end());
  }
  for (std::size_t v = 0; v < graph.value_count(); ++v) values.push_back(static_cast<ValueId>(v));
  for (const ValueId id : values) {
    const Shape* shape = graph.is_available(id) ? analysis_.facts().shape(id) : nullptr;
    for (int axis = 0; shape != nullptr && axis < shape->rank(); ++axis) {
      bool empty = (*shape)[axis] > 0;
      for (std::int64_t i = 0; i < (*shape)[axis] && empty; ++i) empty = gone(slots_.at(id, axis, i));
      if (!empty) continue;
      const graph::NodeId producer = graph.value(id).producer;
      keep(slots_.at(id, axis, 0), producer == kNoNode ? "" : graph.label(producer),
           "at least one channel of a layer stays");
      return true;
    }
  }
  return false;
}

/// Keeps more of `each` slots per group until all groups that stay have lost as many.
bool Selection::balance(const GroupedRead& grouped, Slot first, std::int64_t groups, std::int64_t each) {
  const std::string node = analysis_.facts().graph().label(grouped.node);
  const auto lost_of = [&](Slot begin, std::int64_t count) {
    std::int64_t lost = 0;
    for (std::int64_t i = 0; i < count; ++i) lost += gone(begin + static_cast<Slot>(i)) ? 1 : 0;
    return lost;
  };
  const auto whole = [&](std::int64_t g) {
    return lost_of(grouped.inputs + static_cast<Slot>(g * grouped.inputs_per_group),
                   grouped.inputs_per_group) == grouped.inputs_per_group &&
           lost_of(grouped.outputs + static_cast<Slot>(g * grouped.outputs_per_group),
                   grouped.outputs_per_group) == grouped.outputs_per_group;
  };
  std::int64_t common = each - 1;
  for (std::int64_t g = 0; g < groups; ++g) {
    if (!whole(g)) common = std::min(common, lost_of(first + static_cast<Slot>(g * each), each));
  }
  bool changed = false;
  for (std::int64_t g = 0; g < groups; ++g) {
    if (whole(g)) continue;
    std::int64_t surplus = lost_of(first + static_cast<Slot>(g * each), each) - common;
    for (std::int64_t i = each - 1; i >= 0 && surplus > 0; --i) {
      const Slot slot = first + static_cast<Slot>(g * each + i);
      if (!gone(slot)) continue;
      keep(slot, node, "all groups of the convolution keep as many channels");
      --surplus;
      changed = true;
    }
  }
  return changed;
}

bool Selection::balance_groups() {
  for (const GroupedRead& grouped : analysis_.structure().grouped) {
    if (balance(grouped, grouped.inputs, grouped.groups, grouped.inputs_per_group)) return true;
    if (balance(grouped, grouped.outputs, grouped.groups, grouped.outputs_per_group)) return true;
  }
  return false;
}

bool Selection::round_layers() {
  const std::int64_t multiple = rounding_.multiple;
  if (multiple <= 1) return false;
  bool changed = false;
  for (const LinearRead& read : analysis_.structure().reads) {
    if (rounding_.layers.has_value() && !rounding_.layers->contains(read.node)) continue;
    std::int64_t stay = 0;
    for (std::int64_t o = 0; o < read.output_count; ++o)
      stay += gone(read.outputs + static_cast<Slot>(o)) ? 0 : 1;
    if (stay == read.output_count) continue;
    const std::int64_t wanted = std::min(read.output_count, (stay + multiple - 1) / multiple * multiple);
    for (std::int64_t o = read.output_count - 1; o >= 0 && stay < wanted; --o) {
      const Slot slot = read.outputs + static_cast<Slot>(o);
      if (!gone(slot) || kept_.contains(slots_.group(slot))) continue;
      keep(slot, analysis_.facts().graph().label(read.node),
           fmt::format("the layer keeps a multiple of {} channels", multiple));
      rounded_[read.node].push_back(slots_.group(slot));
      ++stay;
      changed = true;
    }
  }
  return changed;
}

std::optional<double> Selection::constant(Slot group) const {
  const auto uses = uses_.find(group);
  if (uses == uses_.end()) return std::nullopt;
  std::optional<double> found;
  for (const auto& [read, input] : uses->second) {
    const auto constant = analysis_.constants().of(read->inputs + static_cast<Slot>(input));
    // The one that readers had to take over, if there is any.
    if (constant.has_value() && (!found.has_value() || *found == 0.0)) found = constant;
  }
  return found;
}

Refusal Selection::why_kept(Slot group) const {
  if (const Refusal* frozen = slots_.frozen(group)) return *frozen;
  if (const auto kept = kept_.find(group); kept != kept_.end()) return kept->second;
  for (const Slot member : slots_.members(group)) {
    if (const Refusal* lost = analysis_.constants().lost(member)) return *lost;
  }
  const auto uses = uses_.find(group);
  if (uses == uses_.end()) return {.node = "", .why = "it is made of constants alone"};
  const graph::Graph& graph = analysis_.facts().graph();
  for (const auto& [read, input] : uses->second) {
    if (harmless(*read, input)) continue;
    const Slot slot = read->inputs + static_cast<Slot>(input);
    if (analysis_.constants().of(slot).has_value() && !read->no_fold.empty())
      return {.node = graph.label(read->node), .why = read->no_fold};
    return {.node = graph.label(read->node),
            .why = fmt::format("it reads '{}', which is not constant in this channel and goes only with it",
                               graph.value(slots_.place(slot).value).name)};
  }
  return {.node = "", .why = "nothing keeps it"};
}

}  // namespace ember::surgery
