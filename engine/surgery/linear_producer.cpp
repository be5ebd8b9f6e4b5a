#include "surgery/linear_producer.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "ops/constant_value.hpp"
#include "ops/op.hpp"
#include "passes/rewrite.hpp"

namespace ember::surgery {

namespace {

using graph::Graph;
using graph::kNoNode;
using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;
using ops::float_constant;
using passes::input_of;
using passes::is_op;

class Search {
 public:
  Search(const Graph& graph, const ops::ActivationPattern& activation)
      : graph_(graph), activation_(activation) {}

  std::variant<LinearProducer, std::string> run() {
    ValueId value = activation_.input;
    if (seen_outside(value, activation_.nodes)) return std::move(reason_);
    NodeId id = graph_.value(value).producer;
    if (id != kNoNode && is_op(graph_.node(id), "BatchNormalization")) {
      if (!take_norm(id)) return std::move(reason_);
      id = before(id, 0);
      if (!reason_.empty()) return std::move(reason_);
    }
    if (id != kNoNode && is_op(graph_.node(id), "Add") && is_bias_add(id)) {
      producer_.bias_add = id;
      id = before(id, 1 - producer_.bias_input);
      if (!reason_.empty()) return std::move(reason_);
    }
    if (id == kNoNode) return std::string("its input is the model's own");
    if (!take_linear(id)) return std::move(reason_);
    producer_.node = id;
    if (!check_norm() || !check_biases()) return std::move(reason_);
    return producer_;
  }

 private:
  bool refuse(std::string reason) {
    reason_ = std::move(reason);
    return false;
  }
  [[nodiscard]] std::string name(NodeId id) const {
    return fmt::format("{} ({})", graph_.label(id), graph_.node(id).op);
  }

  bool seen_outside(ValueId value, std::span<const NodeId> readers) {
    if (graph_.is_output(value)) {
      refuse(fmt::format("'{}', before the activation, is an output of the model", graph_.value(value).name));
      return true;
    }
    for (const NodeId user : graph_.users(value)) {
      if (std::ranges::find(readers, user) != readers.end()) continue;
      refuse(fmt::format("{} reads it before the activation, too", name(user)));
      return true;
    }
    return false;
  }

  /// The node before input `index` of `id`, of which nobody else may see the result.
  NodeId before(NodeId id, int index) {
    const ValueId value = graph_.node(id).inputs[static_cast<std::size_t>(index)];
    if (seen_outside(value, std::span(&id, 1))) return kNoNode;
    return graph_.value(value).producer;
  }

  bool take_norm(NodeId id) {
    const ops::NodeContext node(graph_, id);
    if (node.integer("training_mode", 0) != 0 || node.integer("spatial", 1) != 1) {
      return refuse(name(id) + " is not in inference mode");
    }
    for (std::size_t i = 1; i < node.node().outputs.size(); ++i) {
      if (!passes::output_unused(graph_, node.node(), i))
        return refuse(name(id) + " gives its statistics out");
    }
    for (std::size_t i = 1; i <= 4; ++i) {
      if (float_constant(graph_, input_of(node.node(), i)) == nullptr) {
        return refuse(name(id) + " has parameters that are computed or not float32");
      }
    }
    producer_.norm = id;
    return true;
  }

  bool is_bias_add(NodeId id) {
    const graph::Node& node = graph_.node(id);
    for (int i = 0; i < 2; ++i) {
      if (float_constant(graph_, input_of(node, static_cast<std::size_t>(i))) == nullptr) continue;
      producer_.bias_input = i;
      return true;
    }
    return false;
  }

  bool take_linear(NodeId id) {
    const graph::Node& node = graph_.node(id);
    const bool convolves = is_op(node, "Conv") || is_op(node, "ConvTranspose");
    if (!convolves && !is_op(node, "Gemm") && !is_op(node, "MatMul")) {
      return refuse(fmt::format("its input is made by {}, not by Conv, Gemm or MatMul", name(id)));
    }
    const ValueId weight_value = input_of(node, 1);
    const Tensor* weight = float_constant(graph_, weight_value);
    if (weight == nullptr) return refuse(name(id) + " has weights that are computed or not float32");
    if (graph_.users(weight_value).size() > 1 || graph_.is_output(weight_value) ||
        std::ranges::count(node.inputs, weight_value) > 1) {
      return refuse(name(id) + " shares its weights with another node");
    }
    return convolves ? take_convolution(id, weight->shape()) : take_matrix(id, weight->shape());
  }

  bool take_convolution(NodeId id, const Shape& shape) {
    const ops::NodeContext node(graph_, id);
    const std::int64_t groups = node.integer("group", 1);
    if (shape.rank() < 3 || groups < 1 || shape[0] % groups != 0)
      return refuse(name(id) + " has odd weights");
    producer_.input_groups = groups;
    producer_.channel_axis = 1;
    if (is_op(node.node(), "Conv")) {
      producer_.channels = shape[0];
      producer_.inner = shape.elements(1, shape.rank());
      return true;
    }
    producer_.channels = groups * shape[1];
    producer_.groups = groups;
    producer_.outer = shape[0] / groups;
    producer_.inner = shape.elements(2, shape.rank());
    producer_.weight_axis = 1;
    return true;
  }

  bool take_matrix(NodeId id, const Shape& shape) {
    const ops::NodeContext node(graph_, id);
    if (shape.rank() != 2) return refuse(name(id) + " has weights of rank other than 2");
    const bool rows = is_op(node.node(), "Gemm") && node.integer("transB", 0) != 0;
    producer_.channel_axis = -1;
    producer_.channels = shape[rows ? 0 : 1];
    (rows ? producer_.inner : producer_.outer) = shape[rows ? 1 : 0];
    producer_.weight_axis = rows ? 0 : 1;
    if (is_op(node.node(), "Gemm")) producer_.bias_factor = static_cast<double>(node.real("beta", 1.0F));
    if (producer_.bias_factor == 0) return refuse(name(id) + " multiplies its bias by 0");
    return true;
  }

  bool check_norm() {
    if (producer_.norm == kNoNode) return true;
    for (std::size_t i = 1; i <= 4; ++i) {
      const Tensor* tensor = float_constant(graph_, graph_.node(producer_.norm).inputs[i]);
      if (tensor->elements() != producer_.channels) {
        return refuse(name(producer_.norm) + " normalises other channels than its producer makes");
      }
    }
    // On a tensor of rank 2 axis 1 is the last; a matrix product of higher rank is normalised on another.
    if (is_op(graph_.node(producer_.node), "MatMul")) producer_.channel_axis = 1;
    return true;
  }

  bool check_biases() {
    const graph::Node& node = graph_.node(producer_.node);
    const ValueId own = is_op(node, "MatMul") ? kNoValue : input_of(node, 2);
    if (own != kNoValue) {
      const Tensor* bias = float_constant(graph_, own);
      if (bias == nullptr)
        return refuse(name(producer_.node) + " has a bias that is computed or not float32");
      if (!per_channel(bias->shape(), 0))
        return refuse(name(producer_.node) + " has a bias that is not per channel");
    }
    if (producer_.bias_add == kNoNode) return true;
    const int behind = producer_.channel_axis == 1 && !is_op(node, "Gemm") && !is_op(node, "MatMul")
                           ? float_constant(graph_, node.inputs[1])->shape().rank() - 2
                           : 0;
    const Tensor* added = float_constant(
        graph_, graph_.node(producer_.bias_add).inputs[static_cast<std::size_t>(producer_.bias_input)]);
    if (per_channel(added->shape(), behind)) return true;
    return refuse(name(producer_.bias_add) + " adds a constant that is not per channel");
  }

  /// One element for each channel, followed by `behind` axes of extent 1; or one element for all of a Gemm.
  [[nodiscard]] bool per_channel(const Shape& shape, int behind) const {
    if (shape.elements() == 1 && producer_.channels > 1) return behind == 0 && shape.rank() <= 2;
    const int axis = shape.rank() - 1 - behind;
    return axis >= 0 && shape.elements() == producer_.channels && shape[axis] == producer_.channels;
  }

  const Graph& graph_;
  const ops::ActivationPattern& activation_;
  LinearProducer producer_;
  std::string reason_;
};

/// The one element of a scalar bias, once for each channel.
void spread(Graph& graph, NodeId node, int index, std::int64_t channels) {
  const ValueId value = graph.node(node).inputs[static_cast<std::size_t>(index)];
  const Tensor* tensor = ops::constant_of(graph, value);
  if (tensor->elements() == channels) return;
  const std::vector<float> values(static_cast<std::size_t>(channels), tensor->data<float>()[0]);
  graph.set_input(node, index, graph.add_constant(graph.value(value).name, Tensor(Shape{channels}, values)));
}

/// A MatMul's result goes through an Add of zeros from now on.
NodeId insert_bias_add(Graph& graph, const LinearProducer& producer) {
  const ValueId result = graph.node(producer.node).outputs[0];
  const std::string name = graph.value(result).name;
  const ValueId inner =
      graph.add_value(name + "_unbiased", graph.value(result).type, graph.value(result).dims);
  graph.set_output(producer.node, 0, inner);
  const ValueId bias =
      graph.add_constant(name + "_bias", Tensor(DataType::Float32, Shape{producer.channels}));
  const auto& order = graph.order();
  const auto next = std::next(std::ranges::find(order, producer.node));
  graph::Node add{.op = "Add", .inputs = {inner, bias}, .outputs = {result}};
  if (!graph.node(producer.node).name.empty()) add.name = graph.node(producer.node).name + "_bias";
  return graph.add_node(std::move(add), next == order.end() ? kNoNode : *next);
}

}  // namespace

std::variant<LinearProducer, std::string> find_producer(const Graph& graph,
                                                        const ops::ActivationPattern& activation) {
  return Search(graph, activation).run();
}

BiasSite ensure_bias(Graph& graph, ConstantEditor& editor, const LinearProducer& producer) {
  if (producer.norm != kNoNode) return {.value = editor.own(producer.norm, 2)};
  if (producer.bias_add != kNoNode) {
    spread(graph, producer.bias_add, producer.bias_input, producer.channels);
    return {.value = editor.own(producer.bias_add, producer.bias_input)};
  }
  if (is_op(graph.node(producer.node), "MatMul")) {
    return {.value = editor.own(insert_bias_add(graph, producer), 1)};
  }
  if (input_of(graph.node(producer.node), 2) == kNoValue) {
    const std::string& name = graph.value(graph.node(producer.node).inputs[1]).name;
    graph.set_input(producer.node, 2,
                    graph.add_constant(name + "_bias", Tensor(DataType::Float32, Shape{producer.channels})));
  }
  spread(graph, producer.node, 2, producer.channels);
  return {.value = editor.own(producer.node, 2), .factor = producer.bias_factor};
}

}  // namespace ember::surgery
