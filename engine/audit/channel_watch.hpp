#pragma once

#include <cstdint>
#include <vector>

#include <ember/audit.hpp>

#include "kernels/activation.hpp"
#include "kernels/statistics.hpp"
#include "runtime/probe.hpp"

namespace ember::auditing {

/// Gathers the statistics of one activation from the values before it.
class ChannelWatch final : public runtime::Probe {
 public:
  /// `last_axis`: channels are on the last axis whatever the rank (see channel_axis.hpp); otherwise they are
  /// on axis 1, or the last one below rank 3. The slopes of a PRelu must outlive the watch.
  ChannelWatch(const kernels::Activation& activation, bool last_axis)
      : activation_(activation), last_axis_(last_axis) {}

  /// Announces a run of `batch` samples along axis 0 of which the first `used` count. With a batch of 1 the
  /// whole run is one sample, whatever axis 0 of a value is.
  void expect(std::int64_t batch, std::int64_t used) {
    batch_ = batch;
    used_ = used;
  }
  /// Adds what one run made. Values whose axis 0 is not the batch count as one sample, see batch_missing().
  void observe(const runtime::ProbeData& data) override;

  /// Axis 0 was not the batch in some run of more than one sample.
  [[nodiscard]] bool batch_missing() const noexcept { return batch_missing_; }
  /// A value was not float32 (a Clip of integers whose type the model does not state), and was not watched.
  [[nodiscard]] bool unwatchable() const noexcept { return unwatchable_; }
  /// The axis of the channels in the last value seen.
  [[nodiscard]] int channel_axis() const noexcept { return axis_; }
  /// How many channels have been seen.
  [[nodiscard]] std::int64_t channels() const noexcept { return channels_; }
  [[nodiscard]] ChannelStatistics statistics(std::int64_t channel) const;

 private:
  /// The part of a value that one sample is, and how its axes split around the channels.
  struct Extents {
    std::int64_t samples, outer, channels, inner;
  };
  [[nodiscard]] Extents split(const Shape& shape);
  void grow(std::int64_t channels);
  void accumulate_plain(const float* values, const Extents& extents, const runtime::ProbeData& data);
  void accumulate_blocked(const float* values, const Extents& extents, const runtime::ProbeData& data);

  kernels::Activation activation_;
  bool last_axis_;
  int axis_ = 1;
  std::int64_t batch_ = 1;
  std::int64_t used_ = 1;
  bool batch_missing_ = false;
  bool unwatchable_ = false;
  std::int64_t channels_ = 0;
  std::int64_t samples_ = 0;
  std::int64_t positions_ = 0;
  std::vector<kernels::StatisticsBlock> blocks_;
  std::vector<float> plain_;  ///< a blocked value whose channels are not on axis 1, unblocked
};

}  // namespace ember::auditing
