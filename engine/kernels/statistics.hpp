#pragma once

#include <cstdint>

#include "kernels/activation.hpp"

namespace ember::kernels {

/// Which values before an activation count as fired, and which as saturated. Values that are not finite
/// are neither.
struct FiringRule {
  float fired_above = 0.0F;  ///< fired: fired_above < x < fired_below
  float fired_below = __builtin_inff();
  float saturated_up_to = -__builtin_inff();  ///< saturated: x <= saturated_up_to or x >= saturated_from
  float saturated_from = __builtin_inff();
};

/// Running totals of 16 neighbouring channels. Minima, maxima and sums are over finite positions only, for
/// one NaN would erase all others; sums are taken in float32 over at most 64 vectors, then added in double.
struct alignas(64) StatisticsBlock {
  static constexpr int kChannels = 16;

  std::int64_t samples_fired[kChannels];
  std::int64_t samples_saturated[kChannels];
  std::int64_t positions_fired[kChannels];
  std::int64_t positions_saturated[kChannels];
  std::int64_t not_finite[kChannels];
  double pre_min[kChannels], pre_max[kChannels], pre_sum[kChannels], pre_sum_squares[kChannels];
  double out_min[kChannels], out_max[kChannels], out_sum[kChannels], out_sum_squares[kChannels];
  double out_sum_abs[kChannels];
};

/// Where the values of some neighbouring channels lie: position p of group g of sample s of channel c is
/// data[s · sample_stride + g · group_stride + p · position_stride + c].
struct StatisticsSource {
  const float* data;
  std::int64_t samples, sample_stride;
  std::int64_t groups, group_stride;
  std::int64_t positions, position_stride;
  int channels;                ///< 1 to 16; 1 when positions are contiguous (position_stride 1)
  std::int64_t first_channel;  ///< index of the first of them among the PRelu slopes
};

struct StatisticsKernels {
  /// Adds the source, and the activation of it, to the channels of `block` from `lane` on
  /// (lane + channels <= 16). Samples are added in order, each on its own: totals do not depend on how
  /// samples are split among calls.
  void (*accumulate)(const StatisticsSource& source, const Activation& activation, const FiringRule& rule,
                     StatisticsBlock& block, int lane);
};

}  // namespace ember::kernels
