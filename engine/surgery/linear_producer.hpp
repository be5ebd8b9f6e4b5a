#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "graph/graph.hpp"
#include "ops/activation_pattern.hpp"
#include "surgery/constant_editor.hpp"

namespace ember::surgery {

/// What makes the input of an activation: Conv, ConvTranspose, Gemm or MatMul with constant weights, then
/// perhaps an Add of a constant and a BatchNormalization at inference. Nobody else reads anything in between.
struct LinearProducer {
  graph::NodeId node = graph::kNoNode;
  graph::NodeId bias_add = graph::kNoNode;  ///< Add of a constant
  int bias_input = 0;                       ///< which input of bias_add is the constant
  graph::NodeId norm = graph::kNoNode;      ///< BatchNormalization
  int channel_axis = 1;                     ///< of the activation's input; −1: the last

  // The weights lie as [groups][outer][channels / groups][inner].
  std::int64_t channels = 0;
  std::int64_t groups = 1;
  std::int64_t outer = 1;
  std::int64_t inner = 1;
  int weight_axis = 0;            ///< of the weight tensor that counts the channels (of a group)
  std::int64_t input_groups = 1;  ///< channels / input_groups of them see the same inputs
  double bias_factor = 1;         ///< what the node multiplies its own bias by

  /// How many inputs a channel weighs.
  [[nodiscard]] std::int64_t fan_in() const noexcept { return outer * inner; }
  /// The place of each weight of a channel.
  template <class F>
  void for_each_weight(std::int64_t channel, F&& f) const {
    const std::int64_t each = channels / groups;
    for (std::int64_t o = 0; o < outer; ++o) {
      const std::int64_t row = ((channel / each) * outer + o) * each + channel % each;
      for (std::int64_t i = 0; i < inner; ++i) f(static_cast<std::size_t>(row * inner + i));
    }
  }
};

/// The producer of an activation's input, or why it cannot be worked on.
std::variant<LinearProducer, std::string> find_producer(const graph::Graph& graph,
                                                        const ops::ActivationPattern& activation);

/// Where the bias of the channels is: element `channel` of a float32 initialiser.
struct BiasSite {
  graph::ValueId value = graph::kNoValue;
  double factor = 1;  ///< the activation's input moves by factor times a change of the bias
};

/// Finds the bias and makes it an initialiser of one element per channel that nobody else reads; adds one of
/// zeros where there is none.
BiasSite ensure_bias(graph::Graph& graph, ConstantEditor& editor, const LinearProducer& producer);

}  // namespace ember::surgery
