#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.hpp"

namespace ember::surgery {

/// Units of one activation that stay in a linear part of it.
struct StablyActive {
  graph::ValueId value = graph::kNoValue;  ///< output of the activation
  int axis = 1;                            ///< its last
  std::vector<std::int64_t> units;         ///< ascending
  /// By unit: what the activation multiplies it by, a Leaky ReLU's slope where it is always negative.
  /// Empty: 1.
  std::vector<double> slopes = {};
};

/// What became of such a layer.
struct Linearized {
  graph::ValueId value = graph::kNoValue;
  /// The units that went. All of them: the layer and the one behind it are one matrix product now.
  std::vector<std::int64_t> gone;
  bool merged = false;
  /// Tensors that lost these units, and on which axis, when the layer was not merged.
  std::vector<std::pair<std::string, int>> cut;
  std::int64_t units = 0;  ///< of the layer
  std::int64_t saved = 0;  ///< multiply-adds per row
  std::string refusal;     ///< why nothing went; "" when something did
};

struct Linearization {
  std::shared_ptr<const graph::Graph> graph;
  std::vector<Linearized> layers;  ///< as given
};

/// An activation that never leaves a linear part is linear, so what is between two matrix products with
/// constant weights can be folded (Serra, Kumar, Ramalingam 2020; Serra, Yu, Kumar, Ramalingam 2021). Where
/// all units of a layer are stably active, W2(W1 x + b1) + b2 becomes one product if that takes fewer
/// multiplications. Where some are, and the rows of W1 that make them depend on each other, W12 = K W11, the
/// dependent ones go and the others take them over: W21 + W22 K, b2 + W22 (b12 - K b11). The network computes
/// what it did, but for rounding, on every input on which these units do not clip.
Linearization linearize(const graph::Graph& graph, const std::vector<StablyActive>& layers);

}  // namespace ember::surgery
