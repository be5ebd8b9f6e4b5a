#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/aligned_memory.hpp"
#include "ops/constant_value.hpp"
#include "ops/op.hpp"
#include "passes/passes.hpp"
#include "passes/rewrite.hpp"

namespace ember::passes {

namespace {

using graph::Graph;
using graph::kNoNode;
using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;
using ops::float_constant;
using ops::NodeContext;

/// BatchNormalization at inference, per channel: y = scale·x + shift.
struct Affine {
  std::vector<double> scale, shift;
  [[nodiscard]] std::int64_t channels() const { return static_cast<std::int64_t>(scale.size()); }
};

std::optional<Affine> affine_of(const Graph& graph, NodeId id) {
  const NodeContext node(graph, id);
  if (node.integer("training_mode", 0) != 0 || node.integer("spatial", 1) != 1) return std::nullopt;
  for (std::size_t i = 1; i < node.node().outputs.size(); ++i) {
    if (!output_unused(graph, node.node(), i)) return std::nullopt;
  }
  std::span<const float> parameters[4];  // scale, bias, mean, variance
  for (std::size_t i = 0; i < 4; ++i) {
    const Tensor* tensor = float_constant(graph, input_of(node.node(), i + 1));
    if (tensor == nullptr || tensor->shape().rank() != 1) return std::nullopt;
    parameters[i] = tensor->data<float>();
    if (parameters[i].size() != parameters[0].size()) return std::nullopt;
  }
  const double epsilon = static_cast<double>(node.real("epsilon", 1e-5F));
  Affine affine;
  for (std::size_t c = 0; c < parameters[0].size(); ++c) {
    const double scale =
        static_cast<double>(parameters[0][c]) / std::sqrt(static_cast<double>(parameters[3][c]) + epsilon);
    const double shift =
        static_cast<double>(parameters[1][c]) - scale * static_cast<double>(parameters[2][c]);
    if (!std::isfinite(scale) || !std::isfinite(shift)) return std::nullopt;
    affine.scale.push_back(scale);
    affine.shift.push_back(shift);
  }
  return affine;
}

/// How a producer's weights and bias meet its output channels.
struct Producer {
  const Tensor* weight = nullptr;  ///< elements lie as [groups][outer][channels / groups][inner]
  std::int64_t channels = 0;
  std::int64_t groups = 1;
  std::int64_t outer = 1;
  std::int64_t inner = 1;
  double bias_factor = 1.0;  ///< what the producer multiplies its bias by
};

std::optional<Producer> conv_producer(const Tensor& weight, std::int64_t groups, bool transposed) {
  const Shape& shape = weight.shape();
  if (shape.rank() < 3 || groups < 1 || shape[0] % groups != 0) return std::nullopt;
  if (!transposed) {
    return Producer{.weight = &weight, .channels = shape[0], .inner = shape.elements(1, shape.rank())};
  }
  return Producer{.weight = &weight,
                  .channels = groups * shape[1],
                  .groups = groups,
                  .outer = shape[0] / groups,
                  .inner = shape.elements(2, shape.rank())};
}

std::optional<Producer> producer_of(const Graph& graph, NodeId id) {
  const NodeContext node(graph, id);
  const Tensor* weight = float_constant(graph, input_of(node.node(), 1));
  if (weight == nullptr) return std::nullopt;
  const bool transposed = is_op(node.node(), "ConvTranspose");
  if (transposed || is_op(node.node(), "Conv")) {
    return conv_producer(*weight, node.integer("group", 1), transposed);
  }
  if (!is_op(node.node(), "Gemm") || weight->shape().rank() != 2) return std::nullopt;
  const bool rows = node.integer("transB", 0) != 0;
  Producer gemm{.weight = weight, .bias_factor = static_cast<double>(node.real("beta", 1.0F))};
  gemm.channels = weight->shape()[rows ? 0 : 1];
  (rows ? gemm.inner : gemm.outer) = weight->shape()[rows ? 1 : 0];
  return gemm;
}

/// The bias per channel, times its factor; nullopt when it is not constant or not per channel.
std::optional<std::vector<double>> bias_of(const Graph& graph, NodeId id, const Producer& producer) {
  std::vector<double> bias(static_cast<std::size_t>(producer.channels), 0.0);
  const ValueId value = input_of(graph.node(id), 2);
  if (value == kNoValue) return bias;
  const Tensor* tensor = float_constant(graph, value);
  if (tensor == nullptr) return std::nullopt;
  const Shape& shape = tensor->shape();
  const std::int64_t last = shape.rank() == 0 ? 1 : shape[shape.rank() - 1];
  if (shape.elements() != last || (last != 1 && last != producer.channels)) return std::nullopt;
  const auto data = tensor->data<float>();
  for (std::size_t c = 0; c < bias.size(); ++c) {
    bias[c] = producer.bias_factor * static_cast<double>(data[last == 1 ? 0 : c]);
  }
  return bias;
}

Tensor scaled_weight(const Producer& producer, const Affine& affine) {
  const auto from = producer.weight->data<float>();
  // Not zeroed before it is written: these are most of a network's bytes.
  std::shared_ptr<void> memory = allocate_aligned(producer.weight->bytes());
  void* const data = memory.get();
  Tensor tensor = Tensor::adopt(DataType::Float32, producer.weight->shape(), std::move(memory), data);
  const auto to = tensor.data<float>();
  const std::int64_t in_group = producer.channels / producer.groups;
  std::size_t at = 0;
  for (std::int64_t group = 0; group < producer.groups; ++group) {
    for (std::int64_t row = 0; row < producer.outer * in_group; ++row) {
      const double scale = affine.scale[static_cast<std::size_t>(group * in_group + row % in_group)];
      for (std::int64_t i = 0; i < producer.inner; ++i, ++at) {
        to[at] = static_cast<float>(scale * static_cast<double>(from[at]));
      }
    }
  }
  return tensor;
}

bool fold(Graph& graph, NodeId id) {
  const ValueId between = input_of(graph.node(id), 0);
  const NodeId producer_id = sole_producer(graph, between, id);
  if (producer_id == kNoNode) return false;
  const auto producer = producer_of(graph, producer_id);
  if (!producer.has_value()) return false;
  const auto affine = affine_of(graph, id);
  if (!affine.has_value() || affine->channels() != producer->channels) return false;
  const auto bias = bias_of(graph, producer_id, *producer);
  if (!bias.has_value()) return false;

  std::vector<float> shifted;
  for (std::size_t c = 0; c < bias->size(); ++c) {
    shifted.push_back(static_cast<float>(affine->scale[c] * (*bias)[c] + affine->shift[c]));
  }
  const ValueId old_weight = input_of(graph.node(producer_id), 1);
  const ValueId old_bias = input_of(graph.node(producer_id), 2);
  // Without a bias of its own the producer gets one named after BatchNormalization's.
  const std::string bias_name = graph.value(old_bias == kNoValue ? graph.node(id).inputs[2] : old_bias).name;
  const ValueId weight =
      graph.add_constant(graph.value(old_weight).name + "_folded", scaled_weight(*producer, *affine));
  const ValueId with_bias =
      graph.add_constant(bias_name + "_folded", Tensor(Shape{producer->channels}, shifted));
  graph.set_input(producer_id, 1, weight);
  graph.set_input(producer_id, 2, with_bias);
  graph.node(producer_id).attributes.erase("beta");
  absorb(graph, producer_id, id);
  return true;
}

}  // namespace

int fold_batch_normalizations(Graph& graph) { return rewrite_each(graph, {"BatchNormalization"}, fold); }

}  // namespace ember::passes
