#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <ember/statistics.hpp>

#include "audit/exact_sum.hpp"
#include "audit/layer_links.hpp"
#include "kernels/activation.hpp"
#include "kernels/statistics.hpp"

namespace ember::auditing {

/// What has been seen of one channel. Adding is exact, hence associative and commutative.
struct ChannelTotals {
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  std::int64_t first_fired = kNever;  ///< the first sample that fired it, counted from 0
  /// With groups: one bit per group of the whole audit, set when a sample of it fired the channel.
  std::vector<std::uint64_t> groups_fired;
  std::int64_t samples_fired = 0, samples_saturated = 0;
  std::int64_t positions_fired = 0, positions_saturated = 0;
  std::int64_t not_finite = 0;
  double pre_min = std::numeric_limits<double>::infinity(), pre_max = -pre_min;
  double out_min = pre_min, out_max = -pre_min;
  ExactSum pre_sum, pre_sum_squares, out_sum, out_sum_squares, out_sum_abs;

  void add(const ChannelTotals& other);
  void add(const kernels::StatisticsBlock& block, std::size_t lane);
  /// Notes that a sample fired the channel; `group` -1: there are no groups.
  void note_fired(std::int64_t sample, std::int64_t group);
};

/// What has been seen of one activation.
struct LayerTotals {
  std::int64_t samples = 0;
  std::int64_t positions = 0;  ///< of each channel
  std::vector<ChannelTotals> channels;

  void add(const LayerTotals& other);
  /// `groups`: how many the whole audit has, 0 for none. `counts_only`: nothing but firing was asked for.
  [[nodiscard]] ChannelStatistics statistics(std::int64_t channel, std::int64_t groups = 0,
                                             bool counts_only = false) const;
};

/// An activation: all that a report says of it and a judgement needs, without the model.
struct LayerRecord {
  std::string node, op, value, fingerprint;
  std::vector<std::string> pattern;
  int channel_axis = 1;
  LayerLinks links;
  kernels::Activation function;  ///< its slopes are those below
  std::vector<float> slopes;
  bool network_output = false;
  bool batch_missing = false;  ///< see ChannelWatch
  bool unwatchable = false;
  std::vector<std::string> channel_fingerprints;
  std::vector<std::int64_t> dead_by_sign;  ///< of the channels that did not fire, see signs.hpp
  LayerTotals totals;

  /// `function` with its slopes in place.
  [[nodiscard]] kernels::Activation activation() const;
};

/// Statistics of one model over some samples of one data set.
struct StatisticsData {
  std::string model, model_hash;
  std::string data, data_hash, data_settings;
  std::string isa;
  std::int64_t samples = 0;  ///< of the whole audit, covered or not
  std::int64_t segment = 1;  ///< samples that are summed one after the other, see segment_length()
  std::int64_t batch = 1;
  bool counts_only = false;
  double confidence = 0.95, rare_below = 0.001, dormant_tau = 0.0;
  /// For each sample the group it belongs to, numbered from 0 in the order of appearance; empty: none.
  std::vector<std::int64_t> groups;
  std::int64_t group_count = 0;
  std::vector<std::string> notes;    ///< what the model has that is not watched
  std::vector<SampleRange> covered;  ///< in order, apart from each other
  std::int64_t samples_not_finite = 0;
  std::vector<LayerRecord> layers;
};

/// How many samples are summed in double before the total goes into an exact sum: a number that depends on
/// nothing but the audit as a whole, so that all shards round alike. A multiple of `batch`.
std::int64_t segment_length(std::int64_t samples, std::int64_t batch);
/// Segments are dealt to shards in contiguous runs that differ by one at most.
SampleRange range_of(const Shard& shard, std::int64_t samples, std::int64_t segment);

/// Throws Error when `a` and `b` are not of one model, data set and set of options; `name` is b's, for
/// messages.
void require_same_audit(const StatisticsData& a, const StatisticsData& b, const std::string& name);
/// "samples 1 to 135, 271 to 300".
std::string describe(const std::vector<SampleRange>& ranges);
/// What `covered` leaves out of [0, samples).
std::vector<SampleRange> gaps(const std::vector<SampleRange>& covered, std::int64_t samples);

}  // namespace ember::auditing
