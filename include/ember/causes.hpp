#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ember {

/// Why a channel never (or hardly) fires: the first of these that holds. "Mates" are the channels of its
/// layer that fire; w·x is what the weights make of the inputs, b what is added to it.
enum class Cause {
  None,                ///< nothing is wrong, or none of these explains it
  Decayed,             ///< its weights are next to nothing beside its mates'
  BatchNormCollapsed,  ///< BatchNormalization scales it to next to nothing, and shifts it to where it is off
  BatchNormStale,      ///< it fires once BatchNormalization's mean and variance are those of the data
  Starved,             ///< it fires once the silent channels it reads put out what their mates do
  SignDead,            ///< no weight is positive and no input negative: no input whatever fires it
  BiasDominated,       ///< w·x alone would fire it; the bias is too far on the other side
  NegativeAlignment,   ///< w·x never gets to where it fires: weights and inputs point away from each other
};
/// "decayed", "batchnorm_collapsed", …
const char* to_string(Cause cause) noexcept;

/// What to do about a cause.
enum class Remedy {
  None,
  Reinitialise,         ///< draw its incoming weights anew (He, or randomised asymmetric)
  RestoreScale,         ///< give BatchNormalization's scale its mates' size
  RecomputeStatistics,  ///< run the training data through and recompute mean and variance
  HealUpstream,         ///< treat the channels that starve it
  RaiseBias,            ///< move the bias to where it fires, or set it from a quantile of the data
};
const char* to_string(Remedy remedy) noexcept;

/// What is changed in a counterfactual.
enum class Edit {
  None,
  RedrawWeights,   ///< incoming weights drawn anew in the size of its mates', everything added to them taken
                   ///< away
  BatchNormScale,  ///< BatchNormalization's scale
  BatchNormStatistics,  ///< BatchNormalization's mean and variance, to those of the data
  UpstreamMeans,        ///< the silent channels it reads put out their mates' mean
  NegateWeights,        ///< incoming weights with the opposite sign
  Bias,                 ///< what is added last, per channel, before the activation
};
const char* to_string(Edit edit) noexcept;

/// What a channel does when one thing about it is different, measured by running the network with that
/// change.
struct Counterfactual {
  Edit edit = Edit::None;
  std::string tensor;       ///< the changed constant (a value name); empty for UpstreamMeans
  double from = 0, to = 0;  ///< Bias, BatchNormScale: the entry; BatchNormStatistics: the mean
  double variance_from = 0, variance_to = 0;  ///< BatchNormStatistics only
  std::int64_t samples = 0;                   ///< how many were run
  std::int64_t samples_fired = 0;             ///< with the change
  std::int64_t samples_fired_before = 0;      ///< the same samples without it

  /// Share of the samples that fire the changed channel.
  [[nodiscard]] double rate() const noexcept {
    return samples > 0 ? static_cast<double>(samples_fired) / static_cast<double>(samples) : 0.0;
  }
};

/// Silent channels that a channel reads.
struct StarvedBy {
  std::string node;                    ///< LayerReport::node of their layer
  std::vector<std::int64_t> channels;  ///< of that layer, ascending
  double mean = 0;                     ///< what they put out in the counterfactual: their mates' mean
};

struct Explanation {
  Cause cause = Cause::None;
  Remedy remedy = Remedy::None;
  Counterfactual counterfactual;
  /// BiasDominated: how far the bias lies from where the channel fires, in standard deviations of w·x.
  double deviations = 0;
  std::vector<StarvedBy> starved_by;  ///< Starved only
};

/// Something about a layer or the whole network that is said before anything about channels.
struct Finding {
  enum class Kind {
    DeadNetwork,    ///< the outputs were the same for every sample: a constant function of the input
    DeadLayer,      ///< every channel of the layer is silent (or proved dead)
    Preprocessing,  ///< most of the first layer is silent: the data may not be scaled as in training
  };
  Kind kind = Kind::DeadLayer;
  std::string node;  ///< LayerReport::node; DeadNetwork: of the dead layer that cuts it, may be empty
  std::int64_t channels = 0;  ///< of the layer that are silent; 0 for DeadNetwork
  std::int64_t samples = 0;   ///< that show it
};
const char* to_string(Finding::Kind kind) noexcept;

}  // namespace ember
