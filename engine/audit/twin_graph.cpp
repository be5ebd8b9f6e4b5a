#include "audit/twin_graph.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

namespace ember::auditing {

namespace {

using graph::kNoValue;
using graph::Node;
using graph::NodeId;
using graph::ValueId;

/// Some entries of a tensor along an axis.
Tensor slice(const Tensor& from, int axis, std::span<const std::int64_t> entries) {
  const Shape& shape = from.shape();
  Tensor result(from.type(), shape.with(axis, static_cast<std::int64_t>(entries.size())));
  const std::int64_t inner = shape.elements(axis + 1, shape.rank());
  const auto source = from.data<float>();
  float* to = result.data<float>().data();
  for (std::int64_t outer = 0; outer < shape.elements(0, axis); ++outer) {
    for (const std::int64_t entry : entries) {
      to = std::copy_n(source.data() + (outer * shape[axis] + entry) * inner, inner, to);
    }
  }
  return result;
}

/// The axis of a constant that has one entry per channel and nothing else.
int entry_axis(const Shape& shape, std::int64_t channels) {
  return static_cast<int>(std::ranges::find(shape, channels) - shape.begin());
}

/// The axis of the channels in what the producer makes, counted from the front.
int channel_axis(const graph::Graph& graph, const Producer& producer, int rank) {
  return graph.node(producer.linear).op.starts_with("Conv") ? 1 : rank - 1;
}

/// Every channel is made of the one input channel of the same number.
bool depthwise(const graph::Graph& graph, const Producer& producer) {
  const Tensor* weights = graph.constant(graph.node(producer.linear).inputs[1]);
  return producer.groups == producer.channels && weights->shape()[1] == 1;
}

}  // namespace

TwinParameters::TwinParameters(const ShapedNetwork& network, const Producer& producer,
                               std::vector<std::int64_t> channels)
    : network_(network), producer_(producer), channels_(std::move(channels)) {
  const graph::Graph& graph = network.graph;
  const auto unknown_shape = [&](NodeId id) {
    return std::ranges::any_of(graph.node(id).inputs, [&](ValueId input) {
      return input != kNoValue && network.shape(input) == nullptr;
    });
  };
  if ((producer.groups != 1 && !depthwise(graph, producer)) ||
      static_cast<std::int64_t>(channels_.size()) == producer.channels ||
      std::ranges::any_of(producer.nodes, unknown_shape)) {
    channels_.resize(static_cast<std::size_t>(producer.channels));
    std::iota(channels_.begin(), channels_.end(), 0);
    cut_ = false;
  }
}

std::size_t TwinParameters::position(std::int64_t channel) const {
  return static_cast<std::size_t>(std::ranges::lower_bound(channels_, channel) - channels_.begin());
}

Tensor& TwinParameters::tensor(const Producer::Parameter& parameter) {
  const auto key = std::pair(parameter.node, parameter.input);
  if (const auto found = tensors_.find(key); found != tensors_.end()) return found->second;
  const Node& node = network_.graph.node(parameter.node);
  const Tensor& original = *network_.graph.constant(node.inputs[static_cast<std::size_t>(parameter.input)]);
  const bool weight = parameter.node == producer_.linear && parameter.input == producer_.weight.input;
  const int axis = weight ? producer_.axis : entry_axis(original.shape(), producer_.channels);
  return tensors_.emplace(key, cut_ ? slice(original, axis, channels_) : original).first->second;
}

void TwinParameters::set(const Producer::Parameter& parameter, std::int64_t channel, double value) {
  tensor(parameter).data<float>()[position(channel)] = static_cast<float>(value);
}

void TwinParameters::set_row(std::int64_t channel, std::span<const float> row) {
  Tensor& weights = tensor(producer_.weight);
  const Shape& shape = weights.shape();
  const std::int64_t inner = shape.elements(producer_.axis + 1, shape.rank());
  const auto at = static_cast<std::int64_t>(position(channel));
  const float* from = row.data();
  for (std::int64_t outer = 0; outer < shape.elements(0, producer_.axis); ++outer) {
    std::copy_n(from, inner, weights.data<float>().data() + (outer * shape[producer_.axis] + at) * inner);
    from += inner;
  }
}

/// Copies nodes of one twin.
class TwinGraph::Copier {
 public:
  Copier(TwinGraph& twins, const Producer& producer, TwinParameters& parameters)
      : twins_(twins),
        producer_(producer),
        parameters_(parameters),
        own_(producer.nodes.begin(), producer.nodes.end()) {}

  /// From now on copies read the sum instead.
  void replace(Addition addition) {
    Node node;
    node.name = name_of(addition.to) + "_raised";
    node.op = "Add";
    node.inputs = {addition.to, graph().add_constant("raise", std::move(addition.constant))};
    replaced_[addition.to] = append(std::move(node));
  }

  void copy(NodeId id) {
    const Node& original = twins_.network_.graph.node(id);
    Node node = original;
    node.name += "_twin";
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == kNoValue) continue;
      node.inputs[i] = graph().constant(node.inputs[i]) != nullptr ? constant(id, i) : computed(id, i);
    }
    if (id == producer_.linear && producer_.groups != 1 && parameters_.cut_)
      node.attributes["group"] = static_cast<std::int64_t>(parameters_.channels_.size());
    // Further outputs (the indices of a MaxPool, the mask of a Dropout) have no reader among the copies.
    node.outputs.resize(1);
    const ValueId made = original.outputs[0];
    replaced_[made] = append(std::move(node));
    if (own_.contains(id)) narrow_.insert(replaced_[made]);
  }

  [[nodiscard]] ValueId copy_of(ValueId value) const { return replaced_.at(value); }

 private:
  graph::Graph& graph() { return twins_.graph_; }
  std::string name_of(ValueId value) { return graph().value(value).name; }

  ValueId append(Node node) {
    const ValueId output = graph().add_value(node.name);
    node.outputs = {output};
    twins_.added_.push_back(graph().add_node(std::move(node)));
    return output;
  }

  ValueId constant(NodeId id, std::size_t input) {
    const ValueId value = twins_.network_.graph.node(id).inputs[input];
    const auto index = static_cast<int>(input);
    const Tensor& tensor = *graph().constant(value);
    const bool weight = id == producer_.linear && index == producer_.weight.input;
    const bool per_channel =
        own_.contains(id) && (weight || (tensor.type() == DataType::Float32 && producer_.channels > 1 &&
                                         tensor.elements() == producer_.channels));
    const bool changed = parameters_.tensors_.contains({id, index});
    if (!changed && !(per_channel && parameters_.cut_)) return value;
    return graph().add_constant("twin", std::move(parameters_.tensor({id, index})));
  }

  ValueId computed(NodeId id, std::size_t input) {
    const ValueId original = twins_.network_.graph.node(id).inputs[input];
    const auto found = replaced_.find(original);
    const ValueId value = found != replaced_.end() ? found->second : original;
    // The residual, or what a depthwise convolution reads.
    const bool wide =
        own_.contains(id) && !narrow_.contains(value) && (id != producer_.linear || producer_.groups != 1);
    return wide && parameters_.cut_ ? selected(value, *twins_.network_.shape(original)) : value;
  }

  /// The twin's channels of a value that has all.
  ValueId selected(ValueId value, const Shape& shape) {
    const int axis = channel_axis(twins_.network_.graph, producer_, shape.rank());
    if (axis < 0 || axis >= shape.rank() || shape[axis] != producer_.channels) return value;  // broadcast
    Node node;
    node.name = name_of(value) + "_selected";
    node.op = "Gather";
    node.attributes["axis"] = static_cast<std::int64_t>(axis);
    const auto count = static_cast<std::int64_t>(parameters_.channels_.size());
    node.inputs = {value, graph().add_constant("selection", Tensor(Shape{count}, parameters_.channels_))};
    return append(std::move(node));
  }

  TwinGraph& twins_;
  const Producer& producer_;
  TwinParameters& parameters_;
  std::set<NodeId> own_;
  std::map<ValueId, ValueId> replaced_;
  std::set<ValueId> narrow_;  ///< values that have the twin's channels only
};

TwinGraph::TwinGraph(const ShapedNetwork& network) : network_(network), graph_(network.graph) {}

ValueId TwinGraph::add(const Producer& producer, TwinParameters parameters,
                       const std::vector<NodeId>& between, std::vector<Addition> additions) {
  Copier copier(*this, producer, parameters);
  for (Addition& addition : additions) copier.replace(std::move(addition));
  std::set<NodeId> wanted(between.begin(), between.end());
  wanted.insert(producer.nodes.begin(), producer.nodes.end());
  for (const NodeId id : network_.graph.order()) {
    if (wanted.contains(id)) copier.copy(id);
  }
  return copier.copy_of(network_.graph.node(producer.nodes.back()).outputs[0]);
}

void TwinGraph::keep(ValueId value) {
  if (std::ranges::find(kept_, value) == kept_.end()) kept_.push_back(value);
}

graph::Graph TwinGraph::finish() && {
  graph_.outputs = kept_;
  graph_.remove_dead();
  graph_.sort();
  return std::move(graph_);
}

std::optional<graph::Graph> TwinGraph::finish_beside(const graph::Graph& optimised) const {
  graph::Graph result = optimised;
  std::map<ValueId, ValueId> moved;
  const auto move = [&](ValueId value) {
    if (value == kNoValue || moved.contains(value)) return true;
    const graph::Value& original = graph_.value(value);
    if (original.constant != nullptr) {
      moved[value] = result.add_constant(original.name, original.constant);
      return true;
    }
    moved[value] = result.find_value(original.name);
    return result.is_available(moved[value]);
  };
  for (const NodeId id : added_) {
    Node node = graph_.node(id);
    if (!node.captures.empty() || !std::ranges::all_of(node.inputs, move)) return std::nullopt;
    for (ValueId& input : node.inputs) input = input == kNoValue ? kNoValue : moved.at(input);
    for (ValueId& output : node.outputs) {
      const std::string& name = graph_.value(output).name;
      const ValueId made = result.add_value(name);
      if (result.value(made).name != name) return std::nullopt;
      moved[output] = made;
      output = made;
    }
    result.add_node(std::move(node));
  }
  if (!std::ranges::all_of(kept_, move)) return std::nullopt;
  result.outputs.clear();
  for (const ValueId kept : kept_) result.outputs.push_back(moved.at(kept));
  result.remove_dead();
  result.sort();
  return result;
}

}  // namespace ember::auditing
