#pragma once

#include <map>
#include <utility>

#include "kernels/table.hpp"
#include "plan/plan.hpp"

namespace ember::plan {

/// The slots of a plan that is being made, and which of them hold a value of its network. The plan must
/// outlive it.
class Slots {
 public:
  Slots(Plan& plan, const kernels::KernelTable& table) : plan_(plan), table_(table) {}

  /// A slot that holds no value of the network's.
  int add(Slot slot);
  /// A new slot for a value that a step is about to make. A shape that only a run knows makes it Dynamic.
  int define(graph::ValueId v, ops::Layout layout);
  /// The same for one that is given as number `captured` of what the plan captures.
  int define_captured(graph::ValueId v, int captured);
  /// The slot that holds a value in a layout; converts it, by a step at the end of the plan, when it only
  /// exists in the other one.
  int in_layout(graph::ValueId v, ops::Layout layout);
  /// The slot that a value was made in.
  [[nodiscard]] int made_in(graph::ValueId v) const { return made_in_.at(v); }

  [[nodiscard]] const Slot& operator[](int slot) const { return plan_.slots[static_cast<std::size_t>(slot)]; }
  /// A value as it was made; plain when it is a constant that nobody has asked for yet.
  [[nodiscard]] ops::TensorDesc desc(graph::ValueId v) const;

 private:
  Plan& plan_;
  const kernels::KernelTable& table_;
  std::map<graph::ValueId, int> made_in_;
  std::map<std::pair<graph::ValueId, ops::Layout>, int> copies_;  ///< every slot a value exists in
};

}  // namespace ember::plan
