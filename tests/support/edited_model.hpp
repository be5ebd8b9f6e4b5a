#pragma once

#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <ember/model.hpp>

#include "graph/graph.hpp"

namespace ember::test {

/// The same network with every node and inner value called something else, as a re-export would.
inline Model renamed(const Model& model) {
  graph::Graph graph = model.graph();
  for (const graph::NodeId id : graph.order()) {
    graph.node(id).name = fmt::format("n{}", 1000 - id);
    for (const graph::ValueId value : graph.node(id).inputs) {
      if (value != graph::kNoValue && !graph.is_input(value)) {
        graph.rename_value(value, fmt::format("v{}", 1000 - value));
      }
    }
  }
  return Model(std::make_shared<const graph::Graph>(std::move(graph)));
}

/// The network with a large negative bias on one channel of its first Gemm or Conv: that channel is dead.
inline Model with_dead_channel(const Model& model, std::size_t channel) {
  graph::Graph graph = model.graph();
  for (const graph::NodeId id : graph.order()) {
    if (graph.node(id).op != "Gemm" && graph.node(id).op != "Conv") continue;
    const graph::ValueId bias = graph.node(id).inputs.at(2);
    Tensor changed(DataType::Float32, graph.constant(bias)->shape());
    changed.view().copy_from(graph.constant(bias)->data<float>());
    changed.data<float>()[channel] -= 1000.0F;
    graph.make_constant(bias, std::make_shared<const Tensor>(std::move(changed)));
    break;
  }
  return Model(std::make_shared<const graph::Graph>(std::move(graph)));
}

}  // namespace ember::test
