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
/// one NaN would erase all others; sums are taken in float32 over at most 128 vectors, then added in double.
struct alignas(64) StatisticsBlock {
  static constexpr int kChannels = 16;

  std::int32_t samples_fired[kChannels];
  std::int32_t samples_saturated[kChannels];
  std::int64_t positions_fired[kChannels];
  std::int64_t positions_saturated[kChannels];
  std::int64_t not_finite[kChannels];
  float pre_min[kChannels], pre_max[kChannels], out_min[kChannels], out_max[kChannels];
  double pre_sum[kChannels], pre_sum_squares[kChannels];
  double out_sum[kChannels], out_sum_squares[kChannels], out_sum_abs[kChannels];
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

/// What a kernel that applies an activation itself gathers of its input, of one sample or part of one:
/// totals of 16 neighbouring channels. Lanes are begun and added to in groups of one vector each. All is
/// taken in the order of the calls, sums in float32 over at most 128 rows, then in double.
struct alignas(64) PieceTotals {
  static constexpr int kChannels = StatisticsBlock::kChannels;
  static constexpr int kMostVectors = 4;

  // By vector. All zero: nothing yet, and the rest is undefined.
  std::int32_t begun[kMostVectors];      ///< something has been added
  std::int32_t irregular[kMostVectors];  ///< not_finite is set

  std::int32_t fired[kChannels], saturated[kChannels], not_finite[kChannels];
  float pre_min[kChannels], pre_max[kChannels];
  double pre_sum[kChannels], pre_sum_squares[kChannels], out_sum[kChannels], out_sum_squares[kChannels];
  // Unless they follow from the rest.
  float out_min[kChannels], out_max[kChannels];
  double out_sum_abs[kChannels];
};

/// How an activation is watched while a kernel applies it.
struct WatchRule {
  FiringRule firing;
  bool counts_only = false;  ///< fired positions and nothing else
};
struct Watch {
  const WatchRule* rule = nullptr;  ///< null: not watched
  PieceTotals* pieces = nullptr;    ///< of the piece at hand, by channels / 16
};

/// The pieces of some samples for the same 16 channels: pieces[s · sample_stride + part · part_stride].
struct PieceSource {
  PieceTotals* pieces;
  std::int64_t samples, sample_stride;
  std::int64_t parts, part_stride;
  std::int64_t positions;  ///< of a sample
};

/// Relu, or a Clip from 0 up.
[[nodiscard]] constexpr bool is_ramp(const Activation& a) noexcept {
  return a.kind == ActivationKind::Relu ||
         (a.kind == ActivationKind::Clip && a.alpha == 0.0F && a.beta > 0.0F);
}

struct StatisticsKernels {
  /// Adds the source, and the activation of it, to the channels of `block` from `lane` on
  /// (lane + channels <= 16). Samples are added in order, each on its own: totals do not depend on how
  /// samples are split among calls.
  void (*accumulate)(const StatisticsSource& source, const Activation& activation, const FiringRule& rule,
                     StatisticsBlock& block, int lane);
  /// Adds pieces of that activation to `block`, samples in order and parts in order, and empties them. Of a
  /// ramp (see is_ramp()) the output's minimum, maximum and sum of magnitudes are left to the caller: they
  /// follow from the rest.
  void (*add_pieces)(const PieceSource& source, const Activation& activation, const WatchRule& rule,
                     StatisticsBlock& block);
};

}  // namespace ember::kernels
