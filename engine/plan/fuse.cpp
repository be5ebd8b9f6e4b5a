#include "plan/fuse.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "ops/activation_pattern.hpp"
#include "ops/op.hpp"

namespace ember::plan {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

namespace {

class Fuser {
 public:
  Fuser(const Specialized& specialized, const std::set<ValueId>& kept, const std::set<ValueId>& watched)
      : s_(specialized), kept_(kept), watched_(watched), taken_(node_limit(), false) {
    for (ops::ActivationPattern& pattern : ops::find_activations(s_.graph)) {
      const ValueId input = pattern.input;
      activations_.emplace(input, std::move(pattern));
    }
  }

  std::vector<Group> run() {
    std::map<NodeId, Group> by_last;
    for (const NodeId id : s_.graph.order()) {
      if (taken_[static_cast<std::size_t>(id)]) continue;
      Group group = grow(id);
      const NodeId last = group.nodes.back();
      by_last.emplace(last, std::move(group));
    }
    std::vector<Group> groups;
    for (const NodeId id : s_.graph.order()) {
      const auto found = by_last.find(id);
      if (found != by_last.end()) groups.push_back(std::move(found->second));
    }
    return groups;
  }

 private:
  [[nodiscard]] std::size_t node_limit() const {
    const auto& order = s_.graph.order();
    return order.empty() ? 0 : static_cast<std::size_t>(*std::ranges::max_element(order)) + 1;
  }

  Group grow(NodeId id) {
    const graph::Node& node = s_.graph.node(id);
    Group group{.main = id,
                .nodes = {id},
                .epilogue = {},
                .bias = kNoValue,
                .residual = kNoValue,
                .output = kNoValue,
                .watched_before = kNoValue,
                .watched_after = kNoValue};
    take({id});
    if (!node.outputs.empty()) group.output = node.outputs[0];
    const ops::Operator* op = ops::find_operator(node.domain, node.op, s_.graph.opset(node));
    if (op == nullptr) return group;
    const bool one_output = std::ranges::count_if(node.outputs, [](ValueId v) { return v != kNoValue; }) == 1;
    if (!one_output || group.output == kNoValue) return group;
    if (op->fuses.bias) absorb_bias(group);
    ops::Epilogue& epilogue = group.epilogue;
    if (op->fuses.activation)
      absorb_activation(group, epilogue.before, epilogue.slopes_before, group.watched_before);
    if (op->fuses.residual && absorb_residual(group) && op->fuses.activation)
      absorb_activation(group, epilogue.after, epilogue.slopes_after, group.watched_after);
    return group;
  }

  /// The value may disappear into an epilogue: float32, static, seen by nobody else.
  [[nodiscard]] bool can_vanish(ValueId v) const {
    const Fact& fact = s_.fact(v);
    return fact.type == DataType::Float32 && fact.shape.has_value() && !kept_.contains(v) &&
           !s_.graph.is_output(v);
  }

  void absorb_activation(Group& group, kernels::Activation& slot,
                         std::shared_ptr<const std::vector<float>>& slopes, ValueId& watched) {
    const auto found = activations_.find(group.output);
    if (found == activations_.end() || !can_vanish(group.output)) return;
    const bool watch = watched_.contains(group.output);
    if (watch && !ops::gathers(s_.graph.node(group.main).op)) return;
    const ops::ActivationPattern& pattern = found->second;
    const auto& readers = s_.graph.users(group.output);
    const bool only_reader = std::ranges::all_of(readers, [&](NodeId reader) {
      return std::ranges::find(pattern.nodes, reader) != pattern.nodes.end();
    });
    if (!only_reader || any_taken(pattern.nodes)) return;
    if (watch) watched = group.output;
    slot = pattern.function;
    slopes = pattern.slopes;
    group.nodes.insert(group.nodes.end(), pattern.nodes.begin(), pattern.nodes.end());
    group.output = pattern.output;
    take(pattern.nodes);
  }

  /// An Add of one constant per column.
  void absorb_bias(Group& group) {
    const auto& readers = s_.graph.users(group.output);
    if (readers.size() != 1 || !can_vanish(group.output) || watched_.contains(group.output)) return;
    const NodeId id = readers[0];
    const graph::Node& add = s_.graph.node(id);
    if (add.op != "Add" || !add.domain.empty() || taken_[static_cast<std::size_t>(id)]) return;
    const ValueId other = add.inputs[0] == group.output ? add.inputs[1] : add.inputs[0];
    const Tensor* constant = s_.graph.constant(other);
    const Shape& shape = *s_.fact(group.output).shape;
    if (constant == nullptr || constant->type() != DataType::Float32 || shape.rank() == 0) return;
    const std::int64_t columns = shape[shape.rank() - 1];
    const Shape& row = constant->shape();
    if (row.rank() == 0 || row.rank() > shape.rank() || row[row.rank() - 1] != columns ||
        row.elements() != columns) {
      return;
    }
    group.bias = other;
    group.nodes.push_back(id);
    group.output = add.outputs[0];
    take({id});
  }

  bool absorb_residual(Group& group) {
    const auto& readers = s_.graph.users(group.output);
    if (readers.size() != 1 || !can_vanish(group.output) || watched_.contains(group.output)) return false;
    const NodeId id = readers[0];
    const graph::Node& add = s_.graph.node(id);
    if (add.op != "Add" || !add.domain.empty() || taken_[static_cast<std::size_t>(id)]) return false;
    const ValueId other = add.inputs[0] == group.output ? add.inputs[1] : add.inputs[0];
    const Fact& fact = s_.fact(other);
    if (other == group.output || s_.graph.constant(other) != nullptr || fact.type != DataType::Float32 ||
        fact.shape != s_.fact(group.output).shape) {
      return false;
    }
    group.epilogue.residual = true;
    group.residual = other;
    group.nodes.push_back(id);
    group.output = add.outputs[0];
    take({id});
    return true;
  }

  [[nodiscard]] bool any_taken(const std::vector<NodeId>& nodes) const {
    return std::ranges::any_of(nodes, [&](NodeId id) { return taken_[static_cast<std::size_t>(id)]; });
  }
  void take(const std::vector<NodeId>& nodes) {
    for (const NodeId id : nodes) taken_[static_cast<std::size_t>(id)] = true;
  }

  const Specialized& s_;
  const std::set<ValueId>& kept_;
  const std::set<ValueId>& watched_;
  std::vector<bool> taken_;
  std::map<ValueId, ops::ActivationPattern> activations_;  ///< by input value
};

}  // namespace

std::vector<Group> fuse(const Specialized& specialized, const std::set<graph::ValueId>& kept,
                        const std::set<graph::ValueId>& watched) {
  return Fuser(specialized, kept, watched).run();
}

}  // namespace ember::plan
