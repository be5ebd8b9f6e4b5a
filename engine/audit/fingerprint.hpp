#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.hpp"
#include "ops/activation_pattern.hpp"

namespace ember::auditing {

/// Names for layers and channels that hold through renaming and re-export, 16 hexadecimal digits each. A
/// layer's stands for the operators, attributes and weight shapes between the network's inputs and its
/// activation, and so survives training too; a channel's for its layer's and for the weights that make it.
/// What is alike in all of this is told apart by order.
class Fingerprinter {
 public:
  Fingerprinter(const graph::Graph& graph, const std::vector<ops::ActivationPattern>& patterns);

  [[nodiscard]] const std::string& layer(std::size_t pattern) const { return layers_[pattern]; }
  /// One per channel, of which there are `channels`.
  [[nodiscard]] std::vector<std::string> channels(std::size_t pattern, std::int64_t channels) const;

 private:
  /// A constant that makes the values of a layer; axis -1: all of it goes into every channel.
  struct Weight {
    const Tensor* tensor;
    int axis;
  };
  [[nodiscard]] std::string structure(const graph::Node& node) const;
  [[nodiscard]] std::vector<Weight> weights_of(graph::ValueId value, std::int64_t channels) const;

  const graph::Graph& graph_;
  const std::vector<ops::ActivationPattern>& patterns_;
  std::vector<std::string> values_;  ///< by ValueId: what leads to the value
  std::vector<std::string> layers_;
};

}  // namespace ember::auditing
