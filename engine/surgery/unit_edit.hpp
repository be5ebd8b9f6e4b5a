#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <utility>

#include <ember/revive.hpp>

#include "graph/graph.hpp"
#include "surgery/channel_readers.hpp"
#include "surgery/constant_editor.hpp"
#include "surgery/linear_producer.hpp"

namespace ember::surgery {

/// Rewrites what makes single channels of one layer.
class LayerEditor {
 public:
  /// Makes the layer's bias and normalisation its own; see ensure_bias().
  LayerEditor(graph::Graph& graph, ConstantEditor& editor, const LinearProducer& producer);

  /// A channel without normalisation.
  void write(std::int64_t channel, std::span<const float> weights, double bias);
  /// A channel with one: its scale becomes 1, `bias` its shift.
  void write_normalised(std::int64_t channel, std::span<const float> weights, double bias, double mean,
                        double variance);
  /// All that makes channel `from` makes channel `to` as well.
  void copy(std::int64_t from, std::int64_t to);

  /// What the activation's input moves by when the bias moves by 1.
  [[nodiscard]] double bias_factor() const noexcept { return bias_.factor; }
  [[nodiscard]] bool normalised() const noexcept { return producer_.norm != graph::kNoNode; }
  [[nodiscard]] double epsilon() const;
  [[nodiscard]] const std::set<TouchedSlice>& touched() const noexcept { return touched_; }

 private:
  void write_weights(std::int64_t channel, std::span<const float> weights);
  void set(graph::ValueId value, std::int64_t channel, double number);
  void touch_weights(std::int64_t channel);

  graph::Graph& graph_;
  ConstantEditor& editor_;
  const LinearProducer& producer_;
  graph::ValueId weight_ = graph::kNoValue;
  BiasSite bias_;
  graph::ValueId scale_ = graph::kNoValue, mean_ = graph::kNoValue, variance_ = graph::kNoValue;
  std::set<TouchedSlice> touched_;
};

/// Folds the channel's constant into the reader's bias and makes its weights 0.
void take_out(graph::Graph& graph, ConstantEditor& editor, const ChannelReader& reader,
              std::set<TouchedSlice>& touched);

/// Gives `heir`, whose weights are 0, a random part, between a quarter and three quarters, of the donor's
/// weight for each output. Both are channels at the same reader.
void share_out(graph::Graph& graph, ConstantEditor& editor, const ChannelReader& donor,
               const ChannelReader& heir, std::mt19937_64& generator, std::set<TouchedSlice>& touched);

}  // namespace ember::surgery
