#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include <ember/model.hpp>

#include "graph/graph.hpp"

namespace ember::surgery {

/// Changes constants of a graph in place: the first change of a tensor copies it, for graphs share them.
class ConstantEditor {
 public:
  explicit ConstantEditor(graph::Graph& graph) : graph_(graph) {}

  /// Makes input `index` of a node an initialiser that nobody else reads, by a copy if need be.
  graph::ValueId own(graph::NodeId node, int index);
  /// The elements of a float32 initialiser.
  [[nodiscard]] std::span<float> floats(graph::ValueId value);
  /// The graph as it is now; later changes do not reach it.
  [[nodiscard]] Model snapshot();

 private:
  graph::Graph& graph_;
  std::map<graph::ValueId, std::shared_ptr<Tensor>> edited_;
};

}  // namespace ember::surgery
