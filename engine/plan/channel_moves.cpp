#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ops/transpose.hpp"
#include "plan/specialize.hpp"
#include "plan/strided_view.hpp"

namespace ember::plan {

using graph::kNoNode;
using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

namespace {

class ChannelMoves {
 public:
  ChannelMoves(Specialized& specialized, const std::set<ValueId>& kept) : s_(specialized), kept_(kept) {}

  Labels run() {
    // Ends of long chains first: what was on the way is then read by nobody.
    const std::vector<NodeId> order = s_.graph.order();
    for (auto id = order.rbegin(); id != order.rend(); ++id) {
      if (is_move(*id)) replace(*id);
    }
    s_.graph.remove_dead();
    std::erase_if(labels_, [&](const auto& entry) {
      return std::ranges::find(s_.graph.order(), entry.first) == s_.graph.order().end();
    });
    return std::move(labels_);
  }

 private:
  /// What a chain of moves does to the channels of its source.
  struct Move {
    ValueId source = kNoValue;
    std::vector<std::int64_t> channels;  ///< the source's, in the result's order
    std::vector<NodeId> nodes;
  };

  [[nodiscard]] const Shape& shape(ValueId v) const { return *s_.fact(v).shape; }

  /// Whether the node only rearranges the elements of its first input, in a way known now.
  [[nodiscard]] bool is_move(NodeId id) const {
    const graph::Node& node = s_.graph.node(id);
    if (!node.domain.empty() || node.outputs.size() != 1) return false;
    const bool reshapes =
        node.op == "Reshape" || node.op == "Flatten" || node.op == "Squeeze" || node.op == "Unsqueeze";
    const bool picks = node.op == "Gather" && picked_index(id).has_value();
    if (!reshapes && !picks && node.op != "Transpose") return false;
    const auto fits = [&](ValueId v) {
      return s_.fact(v).type == DataType::Float32 && s_.is_static(v) && shape(v).elements() > 0;
    };
    return s_.graph.constant(node.inputs[0]) == nullptr && fits(node.inputs[0]) && fits(node.outputs[0]);
  }

  /// The index of a Gather that picks a single one and drops the axis.
  [[nodiscard]] std::optional<std::int64_t> picked_index(NodeId id) const {
    const Tensor* index = s_.graph.constant(s_.graph.node(id).inputs[1]);
    if (index == nullptr || index->shape().rank() != 0) return std::nullopt;
    const std::int64_t picked =
        index->type() == DataType::Int64 ? index->data<std::int64_t>()[0] : index->data<std::int32_t>()[0];
    if (picked >= 0) return picked;
    return picked + shape(s_.graph.node(id).inputs[0])[axis_of(id)];
  }

  [[nodiscard]] int axis_of(NodeId id) const {
    const ops::NodeContext node(s_.graph, id);
    return ops::normalize_axis(node, node.integer("axis", 0), shape(node.node().inputs[0]).rank());
  }

  [[nodiscard]] bool apply(StridedView& view, NodeId id) const {
    const graph::Node& node = s_.graph.node(id);
    if (node.op == "Transpose")
      return view.transpose(ops::permutation_of(ops::NodeContext(s_.graph, id), view.rank()));
    if (node.op == "Gather") return view.pick(axis_of(id), *picked_index(id));
    return view.reshape(shape(node.outputs[0]));
  }

  /// The longest chain that ends with this node and leaves everything but the channels in place.
  void replace(NodeId end) {
    std::vector<NodeId> chain;  // from the end
    std::optional<Move> found;
    for (NodeId id = end; id != kNoNode && is_move(id);) {
      chain.push_back(id);
      const ValueId source = s_.graph.node(id).inputs[0];
      if (chain.size() > 1) {
        if (auto channels = channels_of(source, chain)) found = Move{source, *std::move(channels), chain};
      }
      if (kept_.contains(source) || s_.graph.is_output(source)) break;
      id = s_.graph.value(source).producer;
    }
    if (found) put(*found, end);
  }

  /// The channels that a chain (last node first) picks of `source`; nullopt when it does anything else.
  [[nodiscard]] std::optional<std::vector<std::int64_t>> channels_of(ValueId source,
                                                                     const std::vector<NodeId>& chain) const {
    const Shape& from = shape(source);
    const Shape& to = shape(s_.graph.node(chain.front()).outputs[0]);
    if (from.rank() < 3 || to.rank() != from.rank()) return std::nullopt;
    for (int axis = 0; axis < from.rank(); ++axis) {
      if (axis != 1 && from[axis] != to[axis]) return std::nullopt;
    }
    StridedView view(from);
    for (auto id = chain.rbegin(); id != chain.rend(); ++id) {
      if (!apply(view, *id)) return std::nullopt;
    }
    const StridedView dense(from);
    for (int axis = 0; axis < from.rank(); ++axis) {
      if (axis != 1 && view.distances(axis) != dense.distances(axis)) return std::nullopt;
    }
    const std::int64_t plane = from.elements(2, from.rank());
    std::vector<std::int64_t> channels = view.distances(1);
    for (std::int64_t& channel : channels) {
      channel += view.start();
      if (channel % plane != 0 || channel / plane >= from[1]) return std::nullopt;
      channel /= plane;
    }
    return channels;
  }

  /// A Gather in place of the chain's last node.
  void put(const Move& move, NodeId end) {
    const ValueId result = s_.graph.node(end).outputs[0];
    std::vector<std::string> labels;
    for (auto id = move.nodes.rbegin(); id != move.nodes.rend(); ++id) labels.push_back(s_.graph.label(*id));
    graph::Node node;
    node.name = s_.graph.label(end);
    node.op = "Gather";
    node.attributes["axis"] = std::int64_t{1};
    const auto count = static_cast<std::int64_t>(move.channels.size());
    const ValueId indices = s_.add_constant(
        node.name + " channels", std::make_shared<const Tensor>(Tensor(Shape{count}, move.channels)));
    node.inputs = {move.source, indices};
    node.outputs = {result};
    const auto& order = s_.graph.order();
    const auto next = std::ranges::find(order, end) + 1;
    const NodeId before = next == order.end() ? kNoNode : *next;
    s_.graph.remove_node(end);
    labels_.emplace(s_.graph.add_node(std::move(node), before), std::move(labels));
  }

  Specialized& s_;
  const std::set<ValueId>& kept_;
  Labels labels_;
};

}  // namespace

Labels merge_channel_moves(Specialized& specialized, const std::set<ValueId>& kept) {
  return ChannelMoves(specialized, kept).run();
}

}  // namespace ember::plan
