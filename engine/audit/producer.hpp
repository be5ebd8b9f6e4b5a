#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.hpp"

namespace ember::auditing {

/// scale · x + offset.
struct Linear {
  double scale = 1.0, offset = 0.0;
};

/// How the values before an activation come about: a Conv, ConvTranspose, Gemm or MatMul with constant
/// weights, and what is done to each channel of it on the way.
struct Producer {
  /// A constant input of a node with one entry per channel, or one for all.
  struct Parameter {
    graph::NodeId node = graph::kNoNode;
    int input = 0;
    bool operator==(const Parameter&) const = default;
  };
  /// Another value for the entry of a channel.
  struct Change {
    Parameter parameter;
    float value;
  };

  graph::NodeId linear = graph::kNoNode;
  graph::ValueId input = graph::kNoValue;  ///< what the weights read
  Parameter weight;
  int axis = 0;               ///< of the weights: their output channels
  std::int64_t channels = 0;  ///< of the output
  std::int64_t groups = 1;
  std::vector<graph::NodeId> nodes;  ///< in order, the linear one first; the last makes the value
  /// What is added last, per channel, with nothing but MaxPool behind it; node kNoNode: nothing.
  Parameter shift;
  std::vector<Parameter> added;               ///< everything added with one entry per channel
  double shift_factor = 1.0;                  ///< of the entry in what is added: beta of a Gemm, −1 for Sub
  graph::NodeId batch_norm = graph::kNoNode;  ///< the only BatchNormalization on the way
  bool residual = false;                      ///< another computed value is added on the way
  /// value = scale · (w·x) + offset, per channel, without the residual.
  std::vector<double> scale, offset;

  /// Row of weights that makes a channel, in the order they are stored.
  [[nodiscard]] std::vector<float> row(const graph::Graph& graph, std::int64_t channel) const;
  /// What a channel is made of w·x by the nodes in front of `before` (kNoNode: by all), the residual left
  /// out.
  [[nodiscard]] Linear linear_of(const graph::Graph& graph, std::int64_t channel,
                                 std::span<const Change> changes = {},
                                 graph::NodeId before = graph::kNoNode) const;
  /// The part of it that makes the input of BatchNormalization. `this` must have one.
  [[nodiscard]] Producer before_batch_norm() const;
};

/// The producer of `value`; nullopt with the reason in `why` when there is none of the kind.
std::optional<Producer> find_producer(const graph::Graph& graph, graph::ValueId value, std::string& why);

/// The entry of a parameter for a channel, whether it has one for each or one for all.
double entry(const graph::Graph& graph, const Producer::Parameter& parameter, std::int64_t channel);

/// No element is ever negative, whatever the network's input: made so by an activation or the like.
bool never_negative(const graph::Graph& graph, graph::ValueId value);

}  // namespace ember::auditing
