#include "plan/slots.hpp"

namespace ember::plan {

using graph::ValueId;
using ops::Layout;

int Slots::add(Slot slot) {
  plan_.slots.push_back(std::move(slot));
  return static_cast<int>(plan_.slots.size()) - 1;
}

int Slots::define(ValueId v, Layout layout) {
  const Fact& fact = plan_.network.fact(v);
  Slot slot;
  slot.name = plan_.network.graph.value(v).name;
  slot.desc.type = fact.type;
  if (fact.shape.has_value()) {
    slot.desc = {fact.type, *fact.shape, layout, layout == Layout::Blocked ? table_.block : 1};
  } else {
    slot.kind = Slot::Kind::Dynamic;
    plan_.fully_static = false;
  }
  const int index = add(std::move(slot));
  made_in_.try_emplace(v, index);
  copies_[{v, layout}] = index;
  return index;
}

int Slots::define_captured(ValueId v, int captured) {
  const int index = define(v, Layout::Plain);
  Slot& slot = plan_.slots[static_cast<std::size_t>(index)];
  slot.kind = Slot::Kind::Captured;
  slot.captured = captured;
  return index;
}

int Slots::in_layout(ValueId v, Layout layout) {
  if (const auto found = copies_.find({v, layout}); found != copies_.end()) return found->second;
  const graph::Graph& graph = plan_.network.graph;
  if (graph.constant(v) != nullptr) {
    Slot slot;
    slot.kind = Slot::Kind::Constant;
    slot.name = graph.value(v).name;
    slot.constant = graph.value(v).constant;
    slot.desc = {slot.constant->type(), slot.constant->shape(), Layout::Plain, 1};
    const int plain = add(std::move(slot));
    copies_[{v, Layout::Plain}] = plain;
    made_in_.try_emplace(v, plain);
    if (layout == Layout::Plain) return plain;
  }
  const int from = made_in_.at(v);
  const int to = define(v, layout);
  PlannedStep step;
  step.step = ops::make_layout_conversion((*this)[from].desc, layout, table_.block, table_);
  step.inputs = {from};
  step.outputs = {to};
  step.node = graph.value(v).name;
  step.op = "layout";
  step.implementation = layout == Layout::Blocked ? "to_blocked" : "to_plain";
  plan_.steps.push_back(std::move(step));
  return to;
}

ops::TensorDesc Slots::desc(ValueId v) const {
  if (const auto found = made_in_.find(v); found != made_in_.end()) return (*this)[found->second].desc;
  const Fact& fact = plan_.network.fact(v);
  return {fact.type, *fact.shape, Layout::Plain, 1};
}

}  // namespace ember::plan
