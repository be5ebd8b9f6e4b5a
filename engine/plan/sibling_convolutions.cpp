#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
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

using Nodes = std::vector<NodeId>;

class Siblings {
 public:
  Siblings(Specialized& specialized, int block, const std::set<ValueId>& kept)
      : s_(specialized), block_(block), kept_(kept) {}

  Labels run() {
    const Nodes order = s_.graph.order();
    std::map<ValueId, Nodes> by_input;
    for (const NodeId id : order) {
      if (is_narrow(id)) by_input[s_.graph.node(id).inputs[0]].push_back(id);
    }
    for (const auto& [input, nodes] : by_input) {
      if (!fit_together(nodes)) continue;
      const NodeId split = merge(nodes, input, 1);
      const Nodes below = depthwise_below(split);
      if (!below.empty()) merge(below, s_.graph.node(split).inputs[0], channels(below));
    }
    s_.graph.remove_dead();
    return std::move(labels_);
  }

 private:
  [[nodiscard]] const Tensor* constant(NodeId id, std::size_t input) const {
    return constant_input(s_.graph, id, input);
  }

  [[nodiscard]] bool is_convolution(NodeId id) const {
    return has_constant_filters(s_, id) && s_.is_static(s_.graph.node(id).outputs[0]);
  }

  /// One group, less than a block of results, and nothing behind it that would go into its epilogue.
  [[nodiscard]] bool is_narrow(NodeId id) const {
    static const std::set<std::string> kApart = {"Conv", "Transpose", "Reshape", "Flatten"};
    if (!is_convolution(id) || ops::NodeContext(s_.graph, id).integer("group", 1) != 1) return false;
    if (constant(id, 1)->shape()[0] >= block_) return false;
    const auto& readers = s_.graph.users(s_.graph.node(id).outputs[0]);
    return std::ranges::all_of(readers,
                               [&](NodeId reader) { return kApart.contains(s_.graph.node(reader).op); });
  }

  /// Everything but the number of groups and of channels is the same.
  [[nodiscard]] bool same_windows(NodeId a, NodeId b) const {
    const auto attributes = [&](NodeId id) {
      auto held = s_.graph.node(id).attributes;
      held.erase("group");
      held.erase("kernel_shape");
      return held;
    };
    const Shape& x = constant(a, 1)->shape();
    const Shape& y = constant(b, 1)->shape();
    bool same = x.rank() == y.rank() && attributes(a) == attributes(b);
    for (int axis = 2; same && axis < x.rank(); ++axis) same = x[axis] == y[axis];
    return same;
  }

  [[nodiscard]] std::int64_t channels(const Nodes& nodes) const {
    std::int64_t sum = 0;
    for (const NodeId id : nodes) sum += constant(id, 1)->shape()[0];
    return sum;
  }

  [[nodiscard]] bool fit_together(const Nodes& nodes) const {
    return nodes.size() > 1 && channels(nodes) <= block_ &&
           std::ranges::all_of(nodes, [&](NodeId id) { return same_windows(nodes[0], id); });
  }

  /// One depthwise convolution behind every part of a Split, all with the same windows; else nothing.
  [[nodiscard]] Nodes depthwise_below(NodeId split) const {
    Nodes below;
    for (const ValueId part : s_.graph.node(split).outputs) {
      const auto& readers = s_.graph.users(part);
      if (readers.size() != 1 || kept_.contains(part) || s_.graph.is_output(part)) return {};
      const NodeId id = readers[0];
      const std::int64_t count = (*s_.fact(part).shape)[1];
      if (!is_convolution(id) || s_.graph.node(id).inputs[0] != part) return {};
      const bool depthwise = ops::NodeContext(s_.graph, id).integer("group", 1) == count &&
                             constant(id, 1)->shape()[0] == count && constant(id, 1)->shape()[1] == 1;
      if (!depthwise || (!below.empty() && !same_windows(below[0], id))) return {};
      below.push_back(id);
    }
    return below;
  }

  /// One convolution of `input` in `groups` groups instead of the nodes, and a Split that gives their
  /// results, which is returned.
  NodeId merge(const Nodes& nodes, ValueId input, std::int64_t groups) {
    graph::Node whole = s_.graph.node(nodes[0]);
    whole.name = s_.graph.label(nodes[0]);
    whole.attributes["group"] = groups;
    std::vector<std::int64_t> parts;
    std::vector<std::string> labels;
    std::vector<ValueId> results;
    for (const NodeId id : nodes) {
      parts.push_back(constant(id, 1)->shape()[0]);
      results.push_back(s_.graph.node(id).outputs[0]);
      if (id != nodes[0]) labels.push_back(s_.graph.label(id));
    }
    const ValueId filters = s_.add_constant(whole.name + " siblings' filters", joined_filters(nodes));
    const ValueId bias = s_.add_constant(whole.name + " siblings' bias", joined_bias(nodes));
    Fact fact = s_.fact(results[0]);
    std::vector<std::int64_t> dims(fact.shape->begin(), fact.shape->end());
    dims[1] = channels(nodes);
    fact.shape = Shape(dims);
    whole.inputs = {input, filters, bias};
    whole.outputs = {s_.add_value(whole.name + " and siblings", fact)};
    graph::Node split;
    split.name = whole.name + " apart";
    split.op = "Split";
    split.attributes["axis"] = std::int64_t{1};
    split.inputs = {whole.outputs[0]};
    if (s_.graph.opset(split) < 13) {
      split.attributes["split"] = parts;
    } else {
      const auto count = static_cast<std::int64_t>(parts.size());
      split.inputs.push_back(s_.add_constant(whole.name + " parts",
                                             std::make_shared<const Tensor>(Tensor(Shape{count}, parts))));
    }
    split.outputs = results;

    const auto& order = s_.graph.order();
    auto next = std::ranges::find(order, nodes[0]);
    while (next != order.end() && std::ranges::find(nodes, *next) != nodes.end()) ++next;
    const NodeId before = next == order.end() ? kNoNode : *next;
    for (const NodeId id : nodes) s_.graph.remove_node(id);
    labels_.emplace(s_.graph.add_node(std::move(whole), before), std::move(labels));
    return s_.graph.add_node(std::move(split), before);
  }

  [[nodiscard]] std::shared_ptr<const Tensor> joined_filters(const Nodes& nodes) const {
    const Shape& shape = constant(nodes[0], 1)->shape();
    std::vector<std::int64_t> dims(shape.begin(), shape.end());
    dims[0] = channels(nodes);
    auto filters = std::make_shared<Tensor>(DataType::Float32, Shape(dims));
    auto to = filters->data<float>().begin();
    for (const NodeId id : nodes) to = std::ranges::copy(constant(id, 1)->data<float>(), to).out;
    return filters;
  }

  [[nodiscard]] std::shared_ptr<const Tensor> joined_bias(const Nodes& nodes) const {
    auto bias = std::make_shared<Tensor>(DataType::Float32, Shape{channels(nodes)});
    auto to = bias->data<float>().begin();
    for (const NodeId id : nodes) {
      if (const Tensor* held = constant(id, 2); held != nullptr)
        to = std::ranges::copy(held->data<float>(), to).out;
      else to = std::fill_n(to, constant(id, 1)->shape()[0], 0.0F);
    }
    return bias;
  }

  Specialized& s_;
  int block_;
  const std::set<ValueId>& kept_;
  Labels labels_;
};

}  // namespace

Labels merge_siblings(Specialized& specialized, int block, const std::set<ValueId>& kept) {
  return Siblings(specialized, block, kept).run();
}

}  // namespace ember::plan
