#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ember/audit.hpp>

#include "audit/firing.hpp"
#include "audit/producer.hpp"
#include "audit/twin_graph.hpp"
#include "ops/activation_pattern.hpp"

namespace ember::auditing {

/// A layer with channels to be explained.
struct LayerCase {
  std::size_t layer = 0;  ///< of the report
  ops::ActivationPattern pattern;
  bool last_axis = false;  ///< see channel_axis.hpp
  Producer producer;
  std::vector<std::int64_t> channels;  ///< those to explain, ascending
  bool input_never_negative = false;   ///< what the weights read
};

/// Has the channel a verdict that asks for a cause: it never or hardly fires, or is stuck in a flat part?
bool asks_why(const ChannelReport& channel);
/// It is stuck in a flat part, rather than not firing.
bool pinned(const ChannelReport& channel);
/// In how many samples the channel was neither off nor stuck.
std::int64_t samples_alive(const ChannelStatistics& statistics, bool pinned);

struct Moments {
  double mean = 0, variance = 0;
};
/// Of the values before the activation.
Moments moments_before(const ChannelStatistics& statistics);

/// What explains a channel as far as its own numbers show, with the change that would show it.
struct Candidate {
  Cause cause = Cause::None;
  double deviations = 0;
  Counterfactual counterfactual;  ///< edit, tensor, from, to
  std::vector<float> row;         ///< RedrawWeights, NegateWeights
};

/// The rules of one layer. `weights_of` values of its mates are gathered once.
class CauseRules {
 public:
  CauseRules(const graph::Graph& graph, const LayerReport& layer, const LayerCase& of);

  /// The first cause that the channel's numbers show, the measured ones (stale statistics, starved) left out.
  [[nodiscard]] Candidate first(const ChannelReport& channel) const;
  /// Statistics of BatchNormalization that are not those of the data, with what its input really does.
  [[nodiscard]] std::optional<Candidate> stale(const ChannelReport& channel,
                                               const Moments& normalised_input) const;
  /// Which entries of parameters it changes, besides weights.
  [[nodiscard]] std::vector<Producer::Change> changes(const Candidate& candidate) const;
  /// Makes the change in a twin.
  void apply(const Candidate& candidate, std::int64_t channel, TwinParameters& parameters) const;

 private:
  [[nodiscard]] bool decayed(std::int64_t channel) const;
  [[nodiscard]] bool collapsed(std::int64_t channel) const;
  [[nodiscard]] Candidate redrawn(std::int64_t channel) const;
  [[nodiscard]] std::optional<Candidate> biased(const ChannelReport& channel) const;
  [[nodiscard]] Producer::Parameter normalisation(int input) const {
    return {of_.producer.batch_norm, input};
  }
  [[nodiscard]] std::string name(const Producer::Parameter& parameter) const;
  [[nodiscard]] double deviation(std::int64_t channel) const;  ///< of BatchNormalization, or 1

  const graph::Graph& graph_;
  const LayerCase& of_;
  std::vector<double> norms_;  ///< of the weights, by channel
  double norm_ = 0, normalised_norm_ = 0, gamma_ = 0, variance_ = 1, shift_ = 0;  ///< medians of the mates
};

}  // namespace ember::auditing
