#include "surgery/slots.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include <ember/error.hpp>

namespace ember::surgery {

using graph::ValueId;

namespace {

std::size_t index(std::int32_t at) { return static_cast<std::size_t>(at); }

}  // namespace

Slots::Slots(const Facts& facts) {
  const graph::Graph& graph = facts.graph();
  std::int64_t next = 0;
  for (std::size_t v = 0; v < graph.value_count(); ++v) {
    const auto id = static_cast<ValueId>(v);
    const Shape* shape = graph.is_available(id) ? facts.shape(id) : nullptr;
    axes_of_.push_back(shape == nullptr ? -1 : static_cast<std::int32_t>(first_.size()));
    if (shape == nullptr) continue;
    for (const std::int64_t extent : *shape) {
      first_.push_back(static_cast<Slot>(next));
      value_of_axis_.push_back(id);
      next += extent;
      if (next > std::numeric_limits<Slot>::max() / 2) {
        throw Error(ErrorCode::ResourceLimit,
                    "the tensors have too many positions to follow channels through",
                    {.model = graph.metadata.model_name});
      }
    }
  }
  parents_.resize(static_cast<std::size_t>(next));
  for (std::size_t i = 0; i < parents_.size(); ++i) parents_[i] = static_cast<Slot>(i);
  frozen_.assign(parents_.size(), -1);
}

Slot Slots::at(ValueId value, int axis, std::int64_t at) const {
  if (value == graph::kNoValue || axes_of_[index(value)] < 0) return kNoSlot;
  return first_[index(axes_of_[index(value)] + axis)] + static_cast<Slot>(at);
}

Slots::Place Slots::place(Slot slot) const {
  // Axes without extent share their first slot with the next one: the last that begins here is meant.
  const auto after = std::ranges::upper_bound(first_, slot);
  const auto axis = static_cast<std::int32_t>(after - first_.begin()) - 1;
  const ValueId value = value_of_axis_[index(axis)];
  return {.value = value, .axis = axis - axes_of_[index(value)], .index = slot - first_[index(axis)]};
}

Slot Slots::group(Slot slot) const {
  while (parents_[index(slot)] != slot) {
    parents_[index(slot)] = parents_[index(parents_[index(slot)])];
    slot = parents_[index(slot)];
  }
  return slot;
}

void Slots::join(Slot a, Slot b) {
  if (a == kNoSlot || b == kNoSlot) return;
  a = group(a);
  b = group(b);
  if (a == b) return;
  if (a > b) std::swap(a, b);  // the earlier value stands for the group
  parents_[index(b)] = a;
  if (frozen_[index(a)] < 0) frozen_[index(a)] = frozen_[index(b)];
}

void Slots::freeze(Slot slot, const Refusal& reason) {
  if (slot == kNoSlot) return;
  std::int32_t& held = frozen_[index(group(slot))];
  if (held >= 0) return;
  if (reasons_.empty() || reasons_.back().node != reason.node || reasons_.back().why != reason.why)
    reasons_.push_back(reason);
  held = static_cast<std::int32_t>(reasons_.size()) - 1;
}

const Refusal* Slots::frozen(Slot slot) const {
  const std::int32_t held = frozen_[index(group(slot))];
  return held < 0 ? nullptr : &reasons_[index(held)];
}

bool Slots::frozen(ValueId value, int axis, std::int64_t extent) const {
  for (std::int64_t i = 0; i < extent; ++i) {
    if (frozen(at(value, axis, i)) == nullptr) return false;
  }
  return true;
}

void Slots::list_members() {
  member_begin_.assign(parents_.size() + 1, 0);
  for (Slot slot = 0; slot < count(); ++slot) ++member_begin_[index(group(slot)) + 1];
  for (std::size_t i = 1; i < member_begin_.size(); ++i) member_begin_[i] += member_begin_[i - 1];
  members_.resize(parents_.size());
  std::vector<std::int32_t> next(member_begin_.begin(), member_begin_.end() - 1);
  for (Slot slot = 0; slot < count(); ++slot) members_[index(next[index(group(slot))]++)] = slot;
}

std::span<const Slot> Slots::members(Slot group) const {
  const std::int32_t begin = member_begin_[index(group)];
  return std::span(members_).subspan(index(begin), index(member_begin_[index(group) + 1] - begin));
}

}  // namespace ember::surgery
