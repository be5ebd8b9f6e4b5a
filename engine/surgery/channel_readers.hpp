#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.hpp"
#include "plan/specialize.hpp"

namespace ember::surgery {

/// A node whose constant weights multiply a channel: Conv, ConvTranspose, Gemm or MatMul.
struct ChannelReader {
  graph::NodeId node = graph::kNoNode;
  std::vector<std::int64_t>
      at;               ///< where the channel is on the input axis of the reader: several behind Flatten
  double constant = 0;  ///< what the channel is at the reader while it is constant

  // The weights lie as [outer][inputs][inner]; outputs are counted over outer (Conv, Gemm with transB) or
  // over inner. Only the rows [first, end) of outer meet the channel, which is input at − shift of these.
  std::int64_t outer = 1, inputs = 1, inner = 1;
  std::int64_t first = 0, end = 1, shift = 0;
  bool output_is_outer = true;
  std::int64_t kernel = 1;  ///< elements of one output's kernel
  std::int64_t outputs = 1;
  std::int64_t first_output = 0;  ///< ConvTranspose: of the group
  int input_axis = 1;             ///< of the weight tensor
  bool grouped = false;
  double factor = 1;       ///< Gemm's alpha
  double bias_factor = 1;  ///< Gemm's beta

  /// Calls f(element, output) for each weight that multiplies the channel.
  template <class F>
  void for_each_weight(F&& f) const {
    for (const std::int64_t channel : at) {
      for (std::int64_t o = first; o < end; ++o) {
        for (std::int64_t i = 0; i < inner; ++i) {
          const std::int64_t output = output_is_outer ? o : first_output + i / kernel;
          f(static_cast<std::size_t>((o * inputs + channel - shift) * inner + i), output);
        }
      }
    }
  }
};

/// All that reads a channel, as far as its value travels unmixed.
struct ChannelReaders {
  std::vector<ChannelReader> readers;
  bool own_parameters = false;  ///< on the way something holds parameters of this very channel
  std::string refusal;          ///< why the channel cannot be taken out of what follows; "" when it can
};

/// The readers of channel `channel`, on axis `axis`, of `value`, which is `constant` everywhere.
/// `specialized` is the graph for some input shapes. Taken out means: exactly, by its readers' weights and
/// biases alone.
ChannelReaders find_readers(const graph::Graph& graph, const plan::Specialized& specialized,
                            graph::ValueId value, int axis, std::int64_t channel, double constant);

}  // namespace ember::surgery
