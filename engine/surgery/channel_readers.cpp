#include "surgery/channel_readers.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "ops/constant_value.hpp"
#include "ops/op.hpp"
#include "passes/rewrite.hpp"

namespace ember::surgery {

namespace {

using graph::Graph;
using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;
using ops::NodeContext;
using passes::input_of;

/// A channel at one place of the graph.
struct Flow {
  ValueId value = kNoValue;
  int axis = 1;
  std::vector<std::int64_t> at;
  double constant = 0;
};

/// Functions of one operand that are 0 at 0.
constexpr std::array<std::string_view, 17> kZeroAtZero = {
    "LeakyRelu", "PRelu", "Elu", "Selu", "Celu",     "Gelu", "HardSwish", "Mish", "Tanh",
    "Softsign",  "Erf",   "Abs", "Neg",  "Identity", "Relu", "Sqrt",      "Sign"};
constexpr std::array<std::string_view, 5> kPools = {"MaxPool", "AveragePool", "GlobalAveragePool",
                                                    "GlobalMaxPool", "LpPool"};

bool is_one_of(std::string_view op, const auto& list) { return std::ranges::find(list, op) != list.end(); }

class Search {
 public:
  Search(const Graph& graph, const plan::Specialized& specialized)
      : graph_(graph), specialized_(specialized) {}

  ChannelReaders run(const Flow& start) {
    follow(start);
    if (found_.refusal.empty() && found_.readers.empty()) refuse("nothing that has weights reads it");
    return std::move(found_);
  }

 private:
  [[nodiscard]] bool refused() const { return !found_.refusal.empty(); }
  void refuse(std::string reason) {
    if (!refused()) found_.refusal = std::move(reason);
  }
  [[nodiscard]] std::string name(NodeId id) const {
    return fmt::format("{} ({})", graph_.label(id), graph_.node(id).op);
  }
  void refuse(NodeId id, std::string_view reason) { refuse(fmt::format("{} {}", name(id), reason)); }

  [[nodiscard]] std::optional<Shape> shape_of(ValueId value) const {
    if (const Tensor* constant = ops::constant_of(graph_, value)) return constant->shape();
    return static_cast<std::size_t>(value) < specialized_.facts.size() ? specialized_.fact(value).shape
                                                                       : std::nullopt;
  }

  void follow(const Flow& flow) {
    if (graph_.is_output(flow.value)) {
      return refuse(fmt::format("'{}' is an output of the model", graph_.value(flow.value).name));
    }
    for (const NodeId user : graph_.users(flow.value)) {
      if (std::ranges::find(graph_.node(user).captures, flow.value) != graph_.node(user).captures.end()) {
        return refuse(user, "reads it inside a branch");
      }
      const auto& inputs = graph_.node(user).inputs;
      for (std::size_t i = 0; i < inputs.size() && !refused(); ++i) {
        if (inputs[i] == flow.value && seen_.emplace(user, i, flow.at.front()).second) step(flow, user, i);
      }
      if (refused()) return;
    }
  }

  void step(const Flow& flow, NodeId id, std::size_t input) {
    const graph::Node& node = graph_.node(id);
    if (!node.domain.empty()) return refuse(id, "is of a domain that is not followed");
    const std::string_view op = node.op;
    if (op == "Conv" || op == "ConvTranspose") return convolution(flow, id, input);
    if (op == "Gemm" || op == "MatMul") return matrix(flow, id, input);
    if (op == "Concat") return concat(flow, id, input);
    if (op == "Mul" || op == "Add" || op == "Sub") return arithmetic(flow, id, input);
    if (input != 0) return refuse(id, "reads it as a parameter");
    if (op == "Dropout" || op == "Identity") return pass(flow, id);
    if (op == "Relu") return pass(flow, id, std::max(flow.constant, 0.0));
    if (is_one_of(op, kPools)) return pool(flow, id);
    if (op == "BatchNormalization") return normalise(flow, id);
    if (op == "ReduceMean" || op == "ReduceMax") return reduce(flow, id);
    if (op == "Flatten" || op == "Reshape" || op == "Squeeze" || op == "Unsqueeze") return reshape(flow, id);
    if (op == "Transpose") return transpose(flow, id);
    if (op == "Resize" || op == "Upsample" || op == "Pad") return enlarge(flow, id);
    if (is_one_of(op, kZeroAtZero) && flow.constant == 0) {
      if (op == "PRelu") found_.own_parameters = true;
      return pass(flow, id);
    }
    refuse(id, flow.constant == 0 ? "mixes it with others" : "turns its constant into something else");
  }

  void pass(const Flow& flow, NodeId id) { pass(flow, id, flow.constant); }
  void pass(const Flow& flow, NodeId id, double constant) {
    Flow next = flow;
    next.constant = constant;
    hand_on(std::move(next), id);
  }
  void hand_on(Flow next, NodeId id) {
    const auto& outputs = graph_.node(id).outputs;
    for (std::size_t i = 1; i < outputs.size(); ++i) {
      if (!passes::output_unused(graph_, graph_.node(id), i)) return refuse(id, "has several results");
    }
    next.value = outputs[0];
    follow(next);
  }

  // ---- readers

  /// The weights of a reader, if they are its own and constant.
  const Tensor* weights(NodeId id) {
    const ValueId value = input_of(graph_.node(id), 1);
    const Tensor* tensor = ops::float_constant(graph_, value);
    if (tensor == nullptr) {
      refuse(id, "has weights that are computed or not float32");
      return nullptr;
    }
    if (graph_.users(value).size() > 1 || graph_.is_output(value)) {
      refuse(id, "shares its weights with another node");
      return nullptr;
    }
    return tensor;
  }

  /// A constant other than 0 goes into the reader's bias.
  bool takes_constant(const Flow& flow, NodeId id) {
    const graph::Node& node = graph_.node(id);
    if (flow.constant == 0 || node.op == "MatMul") return true;
    if (!std::isfinite(flow.constant)) {
      refuse(id, "reads a channel that is not finite");
      return false;
    }
    const ValueId bias = input_of(node, 2);
    if (bias == kNoValue) return true;
    const Tensor* tensor = ops::float_constant(graph_, bias);
    const bool fits =
        tensor != nullptr &&
        (tensor->elements() == 1 || tensor->shape()[tensor->shape().rank() - 1] == tensor->elements());
    if (!fits) refuse(id, "has a bias that cannot take the channel's constant");
    return fits;
  }

  static bool unpadded(const NodeContext& node) {
    const std::string automatic = node.text("auto_pad", "NOTSET");
    const std::vector<std::int64_t> pads = node.integers("pads");
    return automatic == "VALID" ||
           (automatic == "NOTSET" && std::ranges::all_of(pads, [](std::int64_t pad) { return pad == 0; }));
  }

  void convolution(const Flow& flow, NodeId id, std::size_t input) {
    const NodeContext node(graph_, id);
    if (input != 0 || flow.axis != 1) return refuse(id, "reads it as a parameter, or along another axis");
    const Tensor* weight = weights(id);
    if (weight == nullptr || !takes_constant(flow, id)) return;
    const bool transposed = graph_.node(id).op == "ConvTranspose";
    if (flow.constant != 0 && (transposed || !unpadded(node))) {
      return refuse(
          id,
          fmt::format("pads with zeros what is constantly {:g}: no bias can stand for that at the borders",
                      flow.constant));
    }
    const std::int64_t groups = node.integer("group", 1);
    const Shape& shape = weight->shape();
    ChannelReader reader{.node = id, .at = flow.at, .constant = flow.constant, .grouped = groups > 1};
    const std::int64_t channel = flow.at.front();  // one: only a Flatten makes several
    if (flow.at.size() != 1) return refuse(id, "reads several places of it");
    if (transposed) {
      const std::int64_t group = channel / (shape[0] / groups);
      reader.inputs = shape[0];
      reader.kernel = shape.elements(2, shape.rank());
      reader.inner = shape[1] * reader.kernel;
      reader.output_is_outer = false;
      reader.outputs = shape[1] * groups;
      reader.first_output = group * shape[1];
      reader.input_axis = 0;
    } else {
      const std::int64_t group = channel / shape[1];
      reader.outer = shape[0];
      reader.inputs = shape[1];
      reader.inner = shape.elements(2, shape.rank());
      reader.first = group * (shape[0] / groups);
      reader.end = reader.first + shape[0] / groups;
      reader.shift = group * shape[1];
      reader.outputs = shape[0];
    }
    found_.readers.push_back(std::move(reader));
  }

  void matrix(const Flow& flow, NodeId id, std::size_t input) {
    const NodeContext node(graph_, id);
    const std::optional<Shape> shape = shape_of(flow.value);
    if (input != 0) return refuse(id, "reads it as its right operand or as a bias");
    if (!shape || flow.axis != shape->rank() - 1 || node.integer("transA", 0) != 0) {
      return refuse(id, "does not sum over its channels");
    }
    const Tensor* weight = weights(id);
    if (weight == nullptr || !takes_constant(flow, id)) return;
    if (weight->shape().rank() != 2) return refuse(id, "has weights of rank other than 2");
    const bool gemm = graph_.node(id).op == "Gemm";
    const bool rows = gemm && node.integer("transB", 0) != 0;
    ChannelReader reader{.node = id, .at = flow.at, .constant = flow.constant};
    if (gemm) {
      reader.factor = static_cast<double>(node.real("alpha", 1.0F));
      reader.bias_factor = static_cast<double>(node.real("beta", 1.0F));
      if (flow.constant != 0 && reader.bias_factor == 0) return refuse(id, "multiplies its bias by 0");
    }
    reader.outer = rows ? weight->shape()[0] : 1;
    reader.end = reader.outer;
    reader.inputs = weight->shape()[rows ? 1 : 0];
    reader.inner = rows ? 1 : weight->shape()[1];
    reader.output_is_outer = rows;
    reader.outputs = weight->shape()[rows ? 0 : 1];
    reader.input_axis = rows ? 1 : 0;
    found_.readers.push_back(std::move(reader));
  }

  // ---- what hands the channel on

  void concat(const Flow& flow, NodeId id, std::size_t input) {
    const std::optional<Shape> shape = shape_of(flow.value);
    if (!shape) return refuse(id, "joins shapes that only a run can tell");
    const NodeContext node(graph_, id);
    if (ops::normalize_axis(node, node.integer("axis", 0), shape->rank()) != flow.axis) {
      return refuse(id, "joins it with another channel along another axis");
    }
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < input; ++i) {
      const std::optional<Shape> other = shape_of(graph_.node(id).inputs[i]);
      if (!other) return refuse(id, "joins shapes that only a run can tell");
      offset += (*other)[flow.axis];
    }
    Flow next = flow;
    for (std::int64_t& at : next.at) at += offset;
    hand_on(std::move(next), id);
  }

  /// The element of a constant that meets the channel; nullopt when there is not one.
  std::optional<double> operand(const Flow& flow, ValueId other) {
    const Tensor* tensor = ops::float_constant(graph_, other);
    const std::optional<Shape> shape = shape_of(flow.value);
    if (tensor == nullptr || !shape) return std::nullopt;
    const auto values = tensor->data<float>();
    if (values.size() == 1) return static_cast<double>(values[0]);
    const int axis = flow.axis - (shape->rank() - tensor->shape().rank());
    if (axis < 0 || tensor->shape()[axis] != tensor->elements() || flow.at.size() != 1) return std::nullopt;
    if (tensor->shape()[axis] != (*shape)[flow.axis]) return std::nullopt;
    found_.own_parameters = true;
    return static_cast<double>(values[static_cast<std::size_t>(flow.at.front())]);
  }

  void arithmetic(const Flow& flow, NodeId id, std::size_t input) {
    const graph::Node& node = graph_.node(id);
    const std::optional<Shape> from = shape_of(flow.value);
    const std::optional<Shape> to = shape_of(node.outputs[0]);
    if (!from || !to || from->rank() != to->rank() || (*from)[flow.axis] != (*to)[flow.axis]) {
      return refuse(id, "broadcasts it to other channels");
    }
    const ValueId other = node.inputs[1 - input];
    const bool product = node.op == "Mul";
    if (product && flow.constant == 0) {
      if (!operand(flow, other)) found_.own_parameters = true;  // a gate, of this channel alone
      return pass(flow, id);
    }
    const std::optional<double> value = operand(flow, other);
    if (!value) {
      return refuse(id, product ? "multiplies its constant by what is not one"
                                : "sums it with another value: its share of the sum cannot be taken out");
    }
    if (product) return pass(flow, id, flow.constant * *value);
    if (node.op == "Add") return pass(flow, id, flow.constant + *value);
    pass(flow, id, input == 0 ? flow.constant - *value : *value - flow.constant);
  }

  void pool(const Flow& flow, NodeId id) {
    const NodeContext node(graph_, id);
    if (flow.axis != 1) return refuse(id, "pools over its channels");
    const bool keeps = flow.constant == 0 || graph_.node(id).op == "MaxPool" ||
                       graph_.node(id).op.starts_with("Global") ||
                       (graph_.node(id).op == "AveragePool" &&
                        (node.integer("count_include_pad", 0) == 0 || unpadded(node)));
    if (!keeps) return refuse(id, "turns its constant into something else at the borders");
    pass(flow, id);
  }

  void normalise(const Flow& flow, NodeId id) {
    const NodeContext node(graph_, id);
    if (flow.axis != 1 || flow.at.size() != 1 || node.integer("training_mode", 0) != 0) {
      return refuse(id, "normalises it with others");
    }
    std::array<double, 4> p{};  // scale, shift, mean, variance
    for (std::size_t i = 0; i < 4; ++i) {
      const Tensor* tensor = ops::float_constant(graph_, graph_.node(id).inputs[i + 1]);
      const auto at = static_cast<std::size_t>(flow.at.front());
      if (tensor == nullptr || at >= static_cast<std::size_t>(tensor->elements())) {
        return refuse(id, "has parameters that are computed or not float32");
      }
      p[i] = static_cast<double>(tensor->data<float>()[at]);
    }
    found_.own_parameters = true;
    const double epsilon = static_cast<double>(node.real("epsilon", 1e-5F));
    pass(flow, id, p[0] * (flow.constant - p[2]) / std::sqrt(p[3] + epsilon) + p[1]);
  }

  void reduce(const Flow& flow, NodeId id) {
    const NodeContext node(graph_, id);
    const std::optional<Shape> from = shape_of(flow.value);
    const std::optional<Shape> to = shape_of(graph_.node(id).outputs[0]);
    if (!from || !to) return refuse(id, "has a shape that only a run can tell");
    std::vector<std::int64_t> axes = node.integers("axes");
    if (const ValueId given = input_of(graph_.node(id), 1); given != kNoValue) {
      const Tensor* tensor = ops::constant_of(graph_, given);
      if (tensor == nullptr || tensor->type() != DataType::Int64)
        return refuse(id, "has axes that are computed");
      axes.assign(tensor->data<std::int64_t>().begin(), tensor->data<std::int64_t>().end());
    }
    int before = 0;
    for (const std::int64_t axis : axes) {
      const int at = ops::normalize_axis(node, axis, from->rank());
      if (at == flow.axis) return refuse(id, "reduces over its channels");
      before += at < flow.axis ? 1 : 0;
    }
    if (axes.empty()) return refuse(id, "reduces over its channels");
    Flow next = flow;
    if (to->rank() != from->rank()) next.axis -= before;
    hand_on(std::move(next), id);
  }

  /// Also Flatten, Squeeze and Unsqueeze: the axis may go with those before and behind it into one.
  void reshape(const Flow& flow, NodeId id) {
    const std::optional<Shape> from = shape_of(flow.value);
    const std::optional<Shape> to = shape_of(graph_.node(id).outputs[0]);
    if (!from || !to) return refuse(id, "has a shape that only a run can tell");
    const std::int64_t channels = (*from)[flow.axis];
    const std::int64_t outer = from->elements(0, flow.axis);
    const std::int64_t inner = from->elements(flow.axis + 1, from->rank());
    for (int axis = 0; axis < to->rank() && channels > 1; ++axis) {
      const std::int64_t before = to->elements(0, axis);
      if (before == 0 || outer % before != 0) continue;
      const std::int64_t rounds = outer / before;  // over all channels, within the new axis
      if (rounds == 0 || (*to)[axis] % (rounds * channels) != 0) continue;
      const std::int64_t each = (*to)[axis] / (rounds * channels);
      if (each == 0 || inner % each != 0 || to->elements(axis + 1, to->rank()) != inner / each) continue;
      Flow next{.axis = axis, .constant = flow.constant};
      for (std::int64_t round = 0; round < rounds; ++round) {
        for (const std::int64_t at : flow.at) {
          for (std::int64_t i = 0; i < each; ++i) next.at.push_back((round * channels + at) * each + i);
        }
      }
      return hand_on(std::move(next), id);
    }
    refuse(id, "mixes it with other channels");
  }

  void transpose(const Flow& flow, NodeId id) {
    const std::optional<Shape> shape = shape_of(flow.value);
    if (!shape) return refuse(id, "has a shape that only a run can tell");
    std::vector<std::int64_t> order = NodeContext(graph_, id).integers("perm");
    if (order.empty()) {
      for (int axis = shape->rank() - 1; axis >= 0; --axis) order.push_back(axis);
    }
    Flow next = flow;
    next.axis = static_cast<int>(std::ranges::find(order, flow.axis) - order.begin());
    hand_on(std::move(next), id);
  }

  void enlarge(const Flow& flow, NodeId id) {
    const std::optional<Shape> from = shape_of(flow.value);
    const std::optional<Shape> to = shape_of(graph_.node(id).outputs[0]);
    if (!from || !to || (*from)[flow.axis] != (*to)[flow.axis]) return refuse(id, "changes its channels");
    if (flow.constant != 0) return refuse(id, "turns its constant into something else at the borders");
    const NodeContext node(graph_, id);
    if (graph_.node(id).op == "Pad" && node.text("mode", "constant") == "constant") {
      double filling = static_cast<double>(node.real("value", 0.0F));
      if (const ValueId given = input_of(graph_.node(id), 2); given != kNoValue) {
        const Tensor* tensor = ops::float_constant(graph_, given);
        if (tensor == nullptr) return refuse(id, "has a filling that is computed");
        filling = static_cast<double>(tensor->data<float>()[0]);
      }
      if (filling != 0) return refuse(id, "turns its constant into something else at the borders");
    }
    if (graph_.node(id).op == "Resize" &&
        node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize") {
      return refuse(id, "fills what lies outside");
    }
    pass(flow, id);
  }

  const Graph& graph_;
  const plan::Specialized& specialized_;
  ChannelReaders found_;
  std::set<std::tuple<NodeId, std::size_t, std::int64_t>> seen_;
};

}  // namespace

ChannelReaders find_readers(const Graph& graph, const plan::Specialized& specialized, ValueId value, int axis,
                            std::int64_t channel, double constant) {
  return Search(graph, specialized)
      .run({.value = value, .axis = axis, .at = {channel}, .constant = constant});
}

}  // namespace ember::surgery
