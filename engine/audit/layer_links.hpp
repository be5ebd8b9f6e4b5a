#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.hpp"
#include "ops/activation_pattern.hpp"

namespace ember::auditing {

/// Where the values before an activation come from, and whether those after it reach the end.
struct LayerLinks {
  std::vector<std::int64_t> predecessors;  ///< activations with a path here that passes no other, ascending
  bool reads_input = false;                ///< so does an input of the network
  bool feeds_output = false;               ///< an output of the network has such a path from here
};

/// The links among all activations of a graph. Paths are those of values: what only reads a shape is not on
/// one.
std::vector<LayerLinks> link_layers(const graph::Graph& graph,
                                    const std::vector<ops::ActivationPattern>& patterns);

}  // namespace ember::auditing
