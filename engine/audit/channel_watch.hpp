#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include <ember/audit.hpp>

#include "audit/statistics_data.hpp"
#include "kernels/activation.hpp"
#include "kernels/statistics.hpp"
#include "runtime/probe.hpp"

namespace ember::auditing {

/// The smallest and the largest of some values; of none that is finite, the smallest is above the largest.
struct Range {
  float low, high;
};

/// Gathers the statistics of one activation from the values before it.
class ChannelWatch final : public runtime::Probe {
 public:
  /// `last_axis`: channels are on the last axis whatever the rank (see channel_axis.hpp); otherwise they are
  /// on axis 1, or the last one below rank 3. The slopes of a PRelu must outlive the watch. Samples are
  /// summed by segments of `segment`, the last of which ends at `end` (see segment_length()).
  ChannelWatch(const kernels::Activation& activation, bool last_axis, std::int64_t segment = 1,
               std::int64_t end = 0)
      : activation_(activation), last_axis_(last_axis), segment_(segment), end_(end) {}

  /// Which group each sample of the data is in, for LayerTotals::groups_fired; outlives the watch. Empty:
  /// none.
  void set_groups(std::span<const std::int64_t> groups) { groups_ = groups; }

  /// Counts fired positions and nothing else, where a step can gather that alone; where none can, more is
  /// gathered than was asked for.
  void count_only() { counts_only_ = true; }

  /// Also keeps the extremes of these channels before the activation, segment by segment, and sums up no
  /// others.
  void keep_ranges(std::span<const std::int64_t> channels);

  /// Continues from what an earlier watch has counted.
  void restore(LayerTotals totals);

  /// Announces a run of `batch` samples along axis 0, of which the first `used` count: samples `first`, … of
  /// the data. With a batch of 1 the whole run is one sample, whatever axis 0 of a value is.
  void expect(std::int64_t batch, std::int64_t used, std::int64_t first = 0) {
    batch_ = batch;
    used_ = used;
    first_ = first;
  }
  /// Adds what one run made. Values whose axis 0 is not the batch count as one sample, see batch_missing().
  void observe(const runtime::ProbeData& data) override;
  /// The same of what a step gathered while it applied the activation.
  void observe(const runtime::PieceData& data) override;
  /// What a step has to gather for that; nothing where it cannot, see ProbePoint::watch.
  [[nodiscard]] std::optional<kernels::WatchRule> rule() const;

  /// Axis 0 was not the batch in some run of more than one sample.
  [[nodiscard]] bool batch_missing() const noexcept { return batch_missing_; }
  /// A value was not float32 (a Clip of integers whose type the model does not state), and was not watched.
  [[nodiscard]] bool unwatchable() const noexcept { return unwatchable_; }
  /// The axis of the channels in the last value seen.
  [[nodiscard]] int channel_axis() const noexcept { return axis_; }
  /// How many channels have been seen.
  [[nodiscard]] std::int64_t channels() const noexcept { return channels_; }
  /// By segment, of a channel given to keep_ranges().
  [[nodiscard]] std::span<const Range> ranges(std::int64_t channel) const { return ranges_.at(channel); }
  /// Of whole segments; what belongs to a segment not yet ended is left out.
  [[nodiscard]] const LayerTotals& totals() const noexcept { return totals_; }

 private:
  /// The part of a value that one sample is, and how its axes split around the channels.
  struct Extents {
    std::int64_t samples, outer, channels, inner;
  };
  /// Samples of one run that are in one segment.
  struct Piece {
    std::int64_t begin, samples;
    bool last;  ///< the segment ends with it
  };
  /// A sample that fired a channel of a block for the first time, or in a group.
  struct Firing {
    std::int64_t lane, sample;
  };
  [[nodiscard]] Extents split(const Shape& shape);
  /// Makes room for a value's channels, and counts its samples and positions.
  void prepare(const Extents& extents);
  /// Single samples have to be told apart: some channel of the block has not fired yet, or there are groups.
  [[nodiscard]] bool follows(std::int64_t block) const;
  /// Adds a piece to a block by accumulate(first sample, samples), noting what fires.
  template <class Accumulate>
  void add_piece(const Piece& piece, std::int64_t block, const Accumulate& accumulate);
  void cut(const Extents& extents);
  void grow(std::int64_t channels);
  void close(std::int64_t block);
  void accumulate_plain(const float* values, const Extents& extents, const runtime::ProbeData& data);
  void accumulate_blocked(const float* values, const Extents& extents, const runtime::ProbeData& data);
  /// These add some samples to the channels of one block.
  void accumulate_plain(const float* values, std::int64_t samples, const Extents& extents, std::int64_t task,
                        const kernels::StatisticsKernels& kernels);
  void accumulate_blocked(const float* values, std::int64_t samples, const Extents& extents,
                          std::int64_t task, std::int64_t width, const kernels::StatisticsKernels& kernels);

  kernels::Activation activation_;
  bool last_axis_;
  bool counts_only_ = false;
  int axis_ = 1;
  std::int64_t batch_ = 1;
  std::int64_t used_ = 1;
  bool batch_missing_ = false;
  bool unwatchable_ = false;
  std::int64_t channels_ = 0;
  std::int64_t segment_, end_;
  std::int64_t first_ = 0;
  std::vector<Piece> pieces_;
  std::int64_t open_samples_ = 0, open_positions_ = 0;  ///< of the segment begun, as are the blocks
  std::vector<kernels::StatisticsBlock> blocks_;
  std::vector<std::vector<Firing>> firings_;  ///< by block, of the segment begun
  std::vector<char> fired_;                   ///< by channel: has fired, the segment begun included
  std::span<const std::int64_t> groups_;
  LayerTotals totals_;
  std::map<std::int64_t, std::vector<Range>> ranges_;  ///< empty: none are kept
  std::vector<float> plain_;  ///< a blocked value whose channels are not on axis 1, unblocked
};

}  // namespace ember::auditing
