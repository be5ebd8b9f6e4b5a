#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

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

/// Channels that a Conv or ConvTranspose with constant filters gives, or 0.
std::int64_t channels_of(const Graph& graph, NodeId id) {
  const ops::NodeContext node(graph, id);
  const bool transposed = is_op(node.node(), "ConvTranspose");
  const Tensor* filters = float_constant(graph, input_of(node.node(), 1));
  if ((!transposed && !is_op(node.node(), "Conv")) || filters == nullptr || filters->shape().rank() < 3)
    return 0;
  return transposed ? filters->shape()[1] * node.integer("group", 1) : filters->shape()[0];
}

/// Whether a constant added to results of rank `rank` is one number, or one per channel.
bool is_per_channel(const Shape& added, int rank, std::int64_t channels) {
  if (added.rank() > rank) return false;
  if (added.elements() == 1) return true;
  const int axis = added.rank() - (rank - 1);
  return axis >= 0 && added[axis] == channels && added.elements() == channels;
}

bool fold(Graph& graph, NodeId add) {
  for (const std::size_t side : {std::size_t{0}, std::size_t{1}}) {
    const ValueId between = input_of(graph.node(add), side);
    const Tensor* added = float_constant(graph, input_of(graph.node(add), 1 - side));
    const NodeId producer = sole_producer(graph, between, add);
    if (added == nullptr || producer == kNoNode) continue;
    const std::int64_t channels = channels_of(graph, producer);
    if (channels == 0) continue;
    const int rank = float_constant(graph, input_of(graph.node(producer), 1))->shape().rank();
    const ValueId old_bias = input_of(graph.node(producer), 2);
    const Tensor* own = float_constant(graph, old_bias);
    if (!is_per_channel(added->shape(), rank, channels) || (old_bias != kNoValue && own == nullptr)) continue;
    std::vector<float> bias;
    for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
      const float own_bias = own == nullptr ? 0.0F : own->data<float>()[c];
      bias.push_back(own_bias + added->data<float>()[added->shape().elements() == 1 ? 0 : c]);
    }
    const std::string name = graph.value(input_of(graph.node(add), 1 - side)).name + "_folded";
    graph.set_input(producer, 2, graph.add_constant(name, Tensor(Shape{channels}, bias)));
    absorb(graph, producer, add);
    return true;
  }
  return false;
}

}  // namespace

int fold_biases(Graph& graph) { return rewrite_each(graph, {"Add"}, fold); }

}  // namespace ember::passes
