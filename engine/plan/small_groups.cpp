#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "ops/op.hpp"
#include "plan/constant_filters.hpp"
#include "plan/specialize.hpp"

namespace ember::plan {

using graph::kNoNode;
using graph::NodeId;
using graph::ValueId;

namespace {

class SmallGroups {
 public:
  SmallGroups(Specialized& specialized, int block, const std::set<ValueId>& kept)
      : s_(specialized), block_(block), kept_(kept) {}

  Labels run() {
    const std::vector<NodeId> order = s_.graph.order();
    for (const NodeId id : order) {
      if (is_convolution(id)) visit(id);
    }
    s_.graph.remove_dead();
    return std::move(labels_);
  }

 private:
  [[nodiscard]] const Tensor* constant(NodeId id, std::size_t input) const {
    return constant_input(s_.graph, id, input);
  }

  [[nodiscard]] bool is_convolution(NodeId id) const { return has_constant_filters(s_, id); }

  [[nodiscard]] std::int64_t groups_of(NodeId id) const {
    return ops::NodeContext(s_.graph, id).integer("group", 1);
  }

  /// Few small groups that do not fill blocks of channels: multiplying their zeros as well costs less than
  /// leaving the blocked layout.
  [[nodiscard]] bool better_dense(NodeId id) const {
    constexpr std::int64_t kMostGroups = 4;
    constexpr std::int64_t kMostChannels = 64;
    const Shape& filters = constant(id, 1)->shape();
    const std::int64_t groups = groups_of(id);
    if (groups < 2 || groups > kMostGroups || filters[0] % groups != 0) return false;
    const std::int64_t in = filters[1];
    const std::int64_t out = filters[0] / groups;
    const bool depthwise = in == 1 && out == 1;
    return !depthwise && in <= kMostChannels && (in % block_ != 0 || out % block_ != 0);
  }

  void visit(NodeId id) {
    const bool spread = better_dense(id);
    if (groups_of(id) != 1 && !spread) return;
    const NodeId gather = following_gather(id);
    if (!spread && gather == kNoNode) return;
    const Tensor& filters = *constant(id, 1);
    std::vector<std::int64_t> channels(static_cast<std::size_t>(filters.shape()[0]));
    std::iota(channels.begin(), channels.end(), 0);
    ValueId output = s_.graph.node(id).outputs[0];
    std::vector<std::string> labels;
    if (gather != kNoNode) {
      channels = gathered(gather);
      output = s_.graph.node(gather).outputs[0];
      labels.push_back(s_.graph.label(gather));
    }
    graph::Node node = s_.graph.node(id);
    node.name = s_.graph.label(id);
    node.attributes["group"] = std::int64_t{1};
    node.inputs[1] = s_.add_constant(node.name + " filters", dense(filters, groups_of(id), channels));
    if (const Tensor* bias = constant(id, 2); bias != nullptr)
      node.inputs[2] = s_.add_constant(node.name + " bias", picked(*bias, channels));
    node.outputs = {output};
    const auto& order = s_.graph.order();
    const auto next = std::ranges::find(order, id) + 1;
    NodeId before = next == order.end() ? kNoNode : *next;
    if (before == gather && gather != kNoNode) {
      const auto after = std::ranges::find(order, gather) + 1;
      before = after == order.end() ? kNoNode : *after;
    }
    s_.graph.remove_node(id);
    if (gather != kNoNode) s_.graph.remove_node(gather);
    const NodeId made = s_.graph.add_node(std::move(node), before);
    if (!labels.empty()) labels_.emplace(made, std::move(labels));
  }

  /// The only reader of a convolution when it gathers channels, else kNoNode.
  [[nodiscard]] NodeId following_gather(NodeId id) const {
    const ValueId result = s_.graph.node(id).outputs[0];
    const auto& readers = s_.graph.users(result);
    if (readers.size() != 1 || kept_.contains(result) || s_.graph.is_output(result)) return kNoNode;
    const graph::Node& node = s_.graph.node(readers[0]);
    if (node.op != "Gather" || !node.domain.empty() || node.inputs[0] != result) return kNoNode;
    const Tensor* indices = constant(readers[0], 1);
    const std::int64_t axis = ops::NodeContext(s_.graph, readers[0]).integer("axis", 0);
    const bool fits = indices != nullptr && indices->type() == DataType::Int64 &&
                      indices->shape().rank() == 1 && indices->shape()[0] > 0 && axis == 1;
    if (!fits) return kNoNode;
    const std::int64_t channels = constant(id, 1)->shape()[0];
    const bool inside = std::ranges::all_of(indices->data<std::int64_t>(),
                                            [&](std::int64_t i) { return i >= 0 && i < channels; });
    return inside ? readers[0] : kNoNode;
  }

  [[nodiscard]] std::vector<std::int64_t> gathered(NodeId gather) const {
    const auto indices = constant(gather, 1)->data<std::int64_t>();
    return {indices.begin(), indices.end()};
  }

  /// Filters of one group with zeros where the groups have none, for the given output channels.
  static std::shared_ptr<const Tensor> dense(const Tensor& filters, std::int64_t groups,
                                             const std::vector<std::int64_t>& channels) {
    const Shape& shape = filters.shape();
    std::vector<std::int64_t> dims(shape.begin(), shape.end());
    dims[0] = static_cast<std::int64_t>(channels.size());
    dims[1] = shape[1] * groups;
    const std::int64_t per_group = shape.elements(1, shape.rank());
    const std::int64_t out_per_group = shape[0] / groups;
    auto result = std::make_shared<Tensor>(DataType::Float32, Shape(dims));
    const auto to = result->data<float>();
    std::ranges::fill(to, 0.0F);
    const auto from = filters.data<float>();
    for (std::size_t i = 0; i < channels.size(); ++i) {
      const std::int64_t group = channels[i] / out_per_group;
      const auto at = static_cast<std::int64_t>(i) * per_group * groups + group * per_group;
      std::copy_n(from.begin() + channels[i] * per_group, per_group, to.begin() + at);
    }
    return result;
  }

  static std::shared_ptr<const Tensor> picked(const Tensor& bias, const std::vector<std::int64_t>& channels) {
    auto result =
        std::make_shared<Tensor>(DataType::Float32, Shape{static_cast<std::int64_t>(channels.size())});
    const auto from = bias.data<float>();
    std::ranges::transform(channels, result->data<float>().begin(),
                           [&](std::int64_t channel) { return from[static_cast<std::size_t>(channel)]; });
    return result;
  }

  Specialized& s_;
  int block_;
  const std::set<ValueId>& kept_;
  Labels labels_;
};

}  // namespace

Labels spread_small_groups(Specialized& specialized, int block, const std::set<ValueId>& kept) {
  return SmallGroups(specialized, block, kept).run();
}

}  // namespace ember::plan
