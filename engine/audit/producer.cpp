#include "audit/producer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "ops/activation_pattern.hpp"

namespace ember::auditing {

namespace {

using graph::Graph;
using graph::kNoNode;
using graph::kNoValue;
using graph::Node;
using graph::NodeId;
using graph::ValueId;

template <class T>
T attribute(const Node& node, std::string_view name, T otherwise) {
  const auto found = node.attributes.find(name);
  if (found == node.attributes.end()) return otherwise;
  const auto* value = std::get_if<T>(&found->second);
  return value != nullptr ? *value : otherwise;
}

const Tensor* floats(const Graph& graph, const Node& node, std::size_t input) {
  if (input >= node.inputs.size()) return nullptr;
  const Tensor* tensor = graph.constant(node.inputs[input]);
  return tensor != nullptr && tensor->type() == DataType::Float32 ? tensor : nullptr;
}

bool is_constant(const Graph& graph, const Node& node, std::size_t input) {
  return input < node.inputs.size() && graph.constant(node.inputs[input]) != nullptr;
}

/// Follows a value back to its producer.
class Tracer {
 public:
  Tracer(const Graph& graph, std::string& why) : graph_(graph), why_(why) {}

  std::optional<Producer> trace(ValueId value) {
    std::vector<NodeId> behind;  // from the value backwards
    Producer found;
    while (true) {
      const NodeId id = value == kNoValue ? kNoNode : graph_.value(value).producer;
      if (id == kNoNode) return refuse("its input is not made by a convolution or a matrix product");
      const Node& node = graph_.node(id);
      behind.push_back(id);
      if (begin(found, id)) break;
      if (node.op == "Add" && !is_constant(graph_, node, 0) && !is_constant(graph_, node, 1)) {
        std::optional<Producer> branch = fork(node);
        if (!branch) return std::nullopt;
        found = std::move(*branch);
        found.residual = true;
        behind.insert(behind.end(), found.nodes.rbegin(), found.nodes.rend());
        break;
      }
      if (!channelwise(node)) return refuse(fmt::format("it is made by {}", node.op));
      value = node.inputs[is_constant(graph_, node, 0) ? 1 : 0];
    }
    found.nodes.assign(behind.rbegin(), behind.rend());
    if (!resolve(found)) return refuse("an operator behind it has parameters that are not one per channel");
    return found;
  }

 private:
  std::nullopt_t refuse(std::string why) {
    why_ = std::move(why);
    return std::nullopt;
  }

  /// Where two computed values are added, the branch with more weights per channel is the channel's own.
  std::optional<Producer> fork(const Node& add) {
    std::optional<Producer> first = trace(add.inputs[0]);
    std::optional<Producer> second = trace(add.inputs[1]);
    if (!first || !second) return first ? std::move(first) : std::move(second);
    const auto weights = [&](const Producer& p) { return p.row(graph_, 0).size(); };
    return weights(*second) > weights(*first) ? std::move(second) : std::move(first);
  }

  /// The node is a linear operator with constant weights.
  bool begin(Producer& found, NodeId id) const {
    const Node& node = graph_.node(id);
    const Tensor* weights = floats(graph_, node, 1);
    if (weights == nullptr) return false;
    const int rank = weights->shape().rank();
    int axis = -1;
    std::int64_t groups = 1;
    if (node.op == "Conv") {
      axis = 0;
      groups = attribute<std::int64_t>(node, "group", 1);
    } else if (node.op == "ConvTranspose" && attribute<std::int64_t>(node, "group", 1) == 1) {
      axis = 1;
    } else if (node.op == "Gemm" && attribute<std::int64_t>(node, "transA", 0) == 0) {
      axis = attribute<std::int64_t>(node, "transB", 0) != 0 ? 0 : 1;
    } else if (node.op == "MatMul" && rank == 2) {
      axis = 1;
    }
    if (axis < 0 || rank < 2) return false;
    found.linear = id;
    found.input = node.inputs[0];
    found.weight = {id, 1};
    found.axis = axis;
    found.channels = weights->shape()[axis];
    found.groups = groups;
    return true;
  }

  /// The node does the same to every position of a channel, with parameters that are constant.
  bool channelwise(const Node& node) const {
    if (node.op == "Identity" || node.op == "Dropout" || node.op == "MaxPool") return true;
    if (node.op == "BatchNormalization") {
      return attribute<std::int64_t>(node, "training_mode", 0) == 0 && floats(graph_, node, 1) != nullptr &&
             floats(graph_, node, 2) != nullptr && floats(graph_, node, 3) != nullptr &&
             floats(graph_, node, 4) != nullptr;
    }
    if (node.op == "Add" || node.op == "Mul") {
      return floats(graph_, node, 0) != nullptr || floats(graph_, node, 1) != nullptr;
    }
    return (node.op == "Sub" || node.op == "Div") && floats(graph_, node, 1) != nullptr;
  }

  /// A constant that meets the channels: one entry, or one per channel in the right place.
  [[nodiscard]] bool fits(const Producer& found, const Tensor& tensor) const {
    if (tensor.elements() == 1) return true;
    if (tensor.elements() != found.channels) return false;
    const Node& linear = graph_.node(found.linear);
    // Counted from the last axis, channels are that far to the front.
    const int from_end =
        linear.op.starts_with("Conv") ? graph_.constant(linear.inputs[1])->shape().rank() - 1 : 1;
    const int axis = tensor.shape().rank() - from_end;
    return axis >= 0 && tensor.shape()[axis] == found.channels;
  }

  /// Shift, scale and offset, from the linear node forwards.
  bool resolve(Producer& found) const {
    found.shift = {};
    found.added.clear();
    found.scale.clear();
    found.offset.clear();
    found.shift_factor = 1.0;
    found.batch_norm = kNoNode;
    const auto shift_by = [&](const Producer::Parameter& parameter, double factor) {
      const Tensor& tensor =
          *graph_.constant(graph_.node(parameter.node).inputs[static_cast<std::size_t>(parameter.input)]);
      const bool per_channel = tensor.elements() == found.channels;
      found.shift = per_channel ? parameter : Producer::Parameter{};
      if (per_channel) found.added.push_back(parameter);
      found.shift_factor = factor;
    };
    for (const NodeId id : found.nodes) {
      const Node& node = graph_.node(id);
      if (id == found.linear) {
        const bool gemm = node.op == "Gemm";
        if (node.op == "MatMul" || node.inputs.size() < 3 || node.inputs[2] == kNoValue) continue;
        const Tensor* bias = floats(graph_, node, 2);
        if (bias == nullptr || (bias->elements() != 1 && bias->elements() != found.channels)) return false;
        shift_by({id, 2}, gemm ? attribute<float>(node, "beta", 1.0F) : 1.0);
      } else if (node.op == "BatchNormalization") {
        if (floats(graph_, node, 1)->elements() != found.channels) return false;
        found.batch_norm = found.batch_norm == kNoNode ? id : kNoNode;
        shift_by({id, 2}, 1.0);
      } else if (node.op == "Add" || node.op == "Sub" || node.op == "Mul" || node.op == "Div") {
        const int input = floats(graph_, node, 0) != nullptr ? 0 : 1;
        const Tensor* tensor = floats(graph_, node, static_cast<std::size_t>(input));
        if (tensor == nullptr) continue;  // the residual
        if (!fits(found, *tensor)) return false;
        if (node.op == "Add" || node.op == "Sub") {
          shift_by({id, input}, node.op == "Sub" ? -1.0 : 1.0);
          continue;
        }
        found.shift = {};
      }
    }
    for (std::int64_t c = 0; c < found.channels; ++c) {
      const Linear whole = found.linear_of(graph_, c);
      found.scale.push_back(whole.scale);
      found.offset.push_back(whole.offset);
    }
    return true;
  }

  const Graph& graph_;
  std::string& why_;
};

}  // namespace

std::vector<float> Producer::row(const Graph& graph, std::int64_t channel) const {
  const Tensor& tensor =
      *graph.constant(graph.node(weight.node).inputs[static_cast<std::size_t>(weight.input)]);
  const Shape& shape = tensor.shape();
  const std::int64_t inner = shape.elements(axis + 1, shape.rank());
  const auto values = tensor.data<float>();
  std::vector<float> result;
  for (std::int64_t outer = 0; outer < shape.elements(0, axis); ++outer) {
    const auto from = values.subspan(static_cast<std::size_t>((outer * shape[axis] + channel) * inner),
                                     static_cast<std::size_t>(inner));
    result.insert(result.end(), from.begin(), from.end());
  }
  return result;
}

Linear Producer::linear_of(const Graph& graph, std::int64_t channel, std::span<const Change> changes,
                           NodeId before) const {
  const auto value = [&](NodeId id, int at) {
    for (const Change& change : changes) {
      if (change.parameter == Parameter{id, at}) return static_cast<double>(change.value);
    }
    return entry(graph, {id, at}, channel);
  };
  Linear result;
  for (const NodeId id : nodes) {
    if (id == before) break;
    const Node& node = graph.node(id);
    if (id == linear) {
      const bool gemm = node.op == "Gemm";
      if (gemm) result.scale = attribute<float>(node, "alpha", 1.0F);
      if (node.op == "MatMul" || node.inputs.size() < 3 || node.inputs[2] == kNoValue) continue;
      result.offset = (gemm ? attribute<float>(node, "beta", 1.0F) : 1.0) * value(id, 2);
    } else if (node.op == "BatchNormalization") {
      const double epsilon = attribute<float>(node, "epsilon", 1e-5F);
      const double gain = value(id, 1) / std::sqrt(value(id, 4) + epsilon);
      result.scale *= gain;
      result.offset = gain * (result.offset - value(id, 3)) + value(id, 2);
    } else if (node.op == "Add" || node.op == "Sub" || node.op == "Mul" || node.op == "Div") {
      const int at = floats(graph, node, 0) != nullptr ? 0 : 1;
      if (floats(graph, node, static_cast<std::size_t>(at)) == nullptr) continue;  // the residual
      const double operand = value(id, at);
      if (node.op == "Add") result.offset += operand;
      else if (node.op == "Sub") result.offset -= operand;
      else if (node.op == "Mul") result = {result.scale * operand, result.offset * operand};
      else result = {result.scale / operand, result.offset / operand};
    }
  }
  return result;
}

Producer Producer::before_batch_norm() const {
  Producer part = *this;
  part.nodes.erase(std::ranges::find(part.nodes, batch_norm), part.nodes.end());
  return part;
}

std::optional<Producer> find_producer(const Graph& graph, ValueId value, std::string& why) {
  return Tracer(graph, why).trace(value);
}

double entry(const Graph& graph, const Producer::Parameter& parameter, std::int64_t channel) {
  const Tensor& tensor =
      *graph.constant(graph.node(parameter.node).inputs[static_cast<std::size_t>(parameter.input)]);
  const auto values = tensor.data<float>();
  return values[tensor.elements() == 1 ? 0 : static_cast<std::size_t>(channel)];
}

bool never_negative(const Graph& graph, ValueId value) {
  static constexpr std::array<std::string_view, 7> kMakes = {"Relu", "Sigmoid", "HardSigmoid", "Softplus",
                                                             "Abs",  "Exp",     "Softmax"};
  static constexpr std::array<std::string_view, 15> kKeeps = {
      "MaxPool",   "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Flatten",
      "Reshape",   "Transpose",   "Identity",          "Dropout",       "Squeeze",
      "Unsqueeze", "Slice",       "ReduceMean",        "ReduceMax",     "Gather"};
  static constexpr std::array<std::string_view, 3> kCombines = {"Add", "Mul", "Concat"};
  const auto is_one_of = [](std::string_view op, const auto& list) {
    return std::ranges::find(list, op) != list.end();
  };
  if (value == kNoValue) return false;
  if (const Tensor* tensor = graph.constant(value)) {
    return tensor->type() == DataType::Float32 &&
           std::ranges::all_of(tensor->data<float>(), [](float x) { return x >= 0.0F; });
  }
  const NodeId id = graph.value(value).producer;
  if (id == kNoNode) return false;
  const Node& node = graph.node(id);
  if (is_one_of(node.op, kMakes)) return true;
  if (node.op == "Clip") {
    const auto pattern = ops::match_activation(graph, id);
    return pattern && pattern->function.kind == kernels::ActivationKind::Clip &&
           pattern->function.alpha >= 0.0F;
  }
  if (is_one_of(node.op, kKeeps)) return never_negative(graph, node.inputs[0]);
  return is_one_of(node.op, kCombines) &&
         std::ranges::all_of(node.inputs, [&](ValueId input) { return never_negative(graph, input); });
}

}  // namespace ember::auditing
