#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.hpp"
#include "surgery/facts.hpp"

namespace ember::surgery {

/// One position on one axis of one value: what is cut out of a tensor when a channel goes.
using Slot = std::int32_t;
inline constexpr Slot kNoSlot = -1;

/// Why channels stay: the node that holds them, and what it does with them.
struct Refusal {
  std::string node;
  std::string why;
};

/// The slots of all values of known shape, joined into groups that can only go together.
class Slots {
 public:
  struct Place {
    graph::ValueId value = graph::kNoValue;
    int axis = 0;
    std::int64_t index = 0;
  };

  explicit Slots(const Facts& facts);

  [[nodiscard]] std::int32_t count() const noexcept { return static_cast<std::int32_t>(parents_.size()); }
  /// kNoSlot when the value's shape is not known.
  [[nodiscard]] Slot at(graph::ValueId value, int axis, std::int64_t index = 0) const;
  [[nodiscard]] Place place(Slot slot) const;

  /// The slot that stands for the group.
  [[nodiscard]] Slot group(Slot slot) const;
  void join(Slot a, Slot b);
  /// Keeps the group for good; the first reason given is the one reported.
  void freeze(Slot slot, const Refusal& reason);
  [[nodiscard]] const Refusal* frozen(Slot slot) const;
  /// Every slot of the axis is frozen.
  [[nodiscard]] bool frozen(graph::ValueId value, int axis, std::int64_t extent) const;

  /// The slots of a group. Valid after list_members().
  [[nodiscard]] std::span<const Slot> members(Slot group) const;
  void list_members();

 private:
  std::vector<Slot> first_;            ///< of every axis of every value, in order
  std::vector<std::int32_t> axes_of_;  ///< by value: index of its axis 0 in first_, -1 unknown
  std::vector<graph::ValueId> value_of_axis_;
  mutable std::vector<Slot> parents_;
  std::vector<std::int32_t> frozen_;  ///< by group: index into reasons_, -1 when free
  std::vector<Refusal> reasons_;
  std::vector<std::int32_t> member_begin_;
  std::vector<Slot> members_;
};

}  // namespace ember::surgery
