#include "audit/statistics_data.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember::auditing {

void ChannelTotals::add(const ChannelTotals& other) {
  first_fired = std::min(first_fired, other.first_fired);
  groups_fired.resize(std::max(groups_fired.size(), other.groups_fired.size()));
  for (std::size_t i = 0; i < other.groups_fired.size(); ++i) groups_fired[i] |= other.groups_fired[i];
  samples_fired += other.samples_fired;
  samples_saturated += other.samples_saturated;
  positions_fired += other.positions_fired;
  positions_saturated += other.positions_saturated;
  not_finite += other.not_finite;
  pre_min = std::min(pre_min, other.pre_min);
  pre_max = std::max(pre_max, other.pre_max);
  out_min = std::min(out_min, other.out_min);
  out_max = std::max(out_max, other.out_max);
  pre_sum.add(other.pre_sum);
  pre_sum_squares.add(other.pre_sum_squares);
  out_sum.add(other.out_sum);
  out_sum_squares.add(other.out_sum_squares);
  out_sum_abs.add(other.out_sum_abs);
}

void ChannelTotals::add(const kernels::StatisticsBlock& block, std::size_t lane) {
  samples_fired += block.samples_fired[lane];
  samples_saturated += block.samples_saturated[lane];
  positions_fired += block.positions_fired[lane];
  positions_saturated += block.positions_saturated[lane];
  not_finite += block.not_finite[lane];
  pre_min = std::min(pre_min, static_cast<double>(block.pre_min[lane]));
  pre_max = std::max(pre_max, static_cast<double>(block.pre_max[lane]));
  out_min = std::min(out_min, static_cast<double>(block.out_min[lane]));
  out_max = std::max(out_max, static_cast<double>(block.out_max[lane]));
  pre_sum.add(block.pre_sum[lane]);
  pre_sum_squares.add(block.pre_sum_squares[lane]);
  out_sum.add(block.out_sum[lane]);
  out_sum_squares.add(block.out_sum_squares[lane]);
  out_sum_abs.add(block.out_sum_abs[lane]);
}

void ChannelTotals::note_fired(std::int64_t sample, std::int64_t group) {
  first_fired = std::min(first_fired, sample);
  if (group < 0) return;
  constexpr std::int64_t kBits = 64;
  const auto word = static_cast<std::size_t>(group / kBits);
  if (groups_fired.size() <= word) groups_fired.resize(word + 1);
  groups_fired[word] |= std::uint64_t{1} << static_cast<unsigned>(group % kBits);
}

void LayerTotals::add(const LayerTotals& other) {
  samples += other.samples;
  positions += other.positions;
  for (std::size_t c = 0; c < channels.size(); ++c) channels[c].add(other.channels[c]);
}

ChannelStatistics LayerTotals::statistics(std::int64_t channel, std::int64_t groups, bool counts_only) const {
  const ChannelTotals& totals = channels[static_cast<std::size_t>(channel)];
  ChannelStatistics s;
  s.samples = samples;
  s.samples_fired = totals.samples_fired;
  s.first_fired = totals.first_fired == ChannelTotals::kNever ? -1 : totals.first_fired;
  s.groups = groups;
  for (const std::uint64_t word : totals.groups_fired) s.groups_fired += std::popcount(word);
  s.positions = positions;
  s.positions_fired = totals.positions_fired;
  if (counts_only) {
    for (double* value : {&s.pre_min, &s.pre_max, &s.pre_sum, &s.pre_sum_squares, &s.out_min, &s.out_max,
                          &s.out_sum, &s.out_sum_squares, &s.out_sum_abs}) {
      *value = std::numeric_limits<double>::quiet_NaN();
    }
    return s;
  }
  s.samples_saturated = totals.samples_saturated;
  s.positions_saturated = totals.positions_saturated;
  s.not_finite = totals.not_finite;
  if (s.positions == s.not_finite) return s;  // no minimum or sum of nothing
  s.pre_min = totals.pre_min;
  s.pre_max = totals.pre_max;
  s.pre_sum = totals.pre_sum.value();
  s.pre_sum_squares = totals.pre_sum_squares.value();
  s.out_min = totals.out_min;
  s.out_max = totals.out_max;
  s.out_sum = totals.out_sum.value();
  s.out_sum_squares = totals.out_sum_squares.value();
  s.out_sum_abs = totals.out_sum_abs.value();
  return s;
}

kernels::Activation LayerRecord::activation() const {
  kernels::Activation result = function;
  result.slopes = slopes.empty() ? nullptr : slopes.data();
  return result;
}

std::int64_t segment_length(std::int64_t samples, std::int64_t batch) {
  // Few enough that ending segments costs nothing beside the samples, enough to be dealt out evenly.
  constexpr std::int64_t kSegments = 512;
  const std::int64_t length = std::max<std::int64_t>(1, (samples + kSegments - 1) / kSegments);
  return (length + batch - 1) / batch * batch;
}

SampleRange range_of(const Shard& shard, std::int64_t samples, std::int64_t segment) {
  const std::int64_t segments = (samples + segment - 1) / segment;
  const auto bound = [&](std::int64_t part) {
    // segments * part / count, in an order that cannot overflow
    const std::int64_t whole = segments / shard.count * part;
    return std::min(samples, (whole + segments % shard.count * part / shard.count) * segment);
  };
  return {bound(shard.index - 1), bound(shard.index)};
}

void require_same_audit(const StatisticsData& a, const StatisticsData& b, const std::string& name) {
  const auto require = [&](bool same, std::string_view what, std::string_view cure) {
    if (same) return;
    throw Error(ErrorCode::InvalidData, fmt::format("the statistics in '{}' are of {}", name, what),
                {.cure = std::string(cure)});
  };
  require(a.model_hash == b.model_hash, fmt::format("another model ('{}', not '{}')", b.model, a.model),
          "give statistics of one model only");
  require(a.data_hash == b.data_hash, fmt::format("other data ('{}', not '{}')", b.data, a.data),
          "give statistics over one data set only");
  require(a.data_settings == b.data_settings, "the same data preprocessed in another way",
          "preprocess every part alike");
  require(a.samples == b.samples, fmt::format("an audit of {} samples, not of {}", b.samples, a.samples),
          "give every part the same --samples");
  require(a.isa == b.isa, fmt::format("a run with {}, not with {}, which round differently", b.isa, a.isa),
          "set EMBER_ISA to the same instruction set for every part");
  require(a.confidence == b.confidence && a.rare_below == b.rare_below && a.dormant_tau == b.dormant_tau,
          "an audit with another --confidence, --rare or --tau", "give every part the same options");
  require(a.counts_only == b.counts_only, "an audit that gathered other statistics",
          "give every part --counts-only, or none");
  require(a.groups == b.groups, "other groups of samples", "give every part the same --groups");
  if (a.covered.empty() || b.covered.empty()) return;  // of an empty part nothing more is known
  const auto alike = [](const LayerRecord& one, const LayerRecord& other) {
    return one.totals.channels.size() == other.totals.channels.size() &&
           one.fingerprint == other.fingerprint && one.channel_fingerprints == other.channel_fingerprints;
  };
  require(a.segment == b.segment && a.batch == b.batch && a.layers.size() == b.layers.size() &&
              std::equal(a.layers.begin(), a.layers.end(), b.layers.begin(), alike),
          "an audit by another version of ember", "audit every part with the same version");
}

std::string describe(const std::vector<SampleRange>& ranges) {
  constexpr std::size_t kShown = 5;
  std::string text = "samples ";
  for (std::size_t i = 0; i < std::min(ranges.size(), kShown); ++i) {
    text += fmt::format("{}{} to {}", i > 0 ? ", " : "", ranges[i].first + 1, ranges[i].end);
  }
  if (ranges.size() > kShown) text += fmt::format(" and {} more ranges", ranges.size() - kShown);
  return text;
}

std::vector<SampleRange> gaps(const std::vector<SampleRange>& covered, std::int64_t samples) {
  std::vector<SampleRange> result;
  std::int64_t at = 0;
  for (const SampleRange& range : covered) {
    if (range.first > at) result.push_back({at, range.first});
    at = range.end;
  }
  if (at < samples) result.push_back({at, samples});
  return result;
}

}  // namespace ember::auditing
