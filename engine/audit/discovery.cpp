#include "audit/discovery.hpp"

#include <algorithm>
#include <bit>
#include <vector>

#include "audit/firing.hpp"

namespace ember::auditing {

namespace {

/// The first trial that fired a channel, counted from 0. Groups are numbered as they appear, so the lowest
/// number is the first.
std::int64_t first_trial(const ChannelTotals& totals, bool by_group) {
  if (!by_group) return totals.first_fired;
  for (std::size_t word = 0; word < totals.groups_fired.size(); ++word) {
    const std::uint64_t bits = totals.groups_fired[word];
    if (bits != 0) return static_cast<std::int64_t>(word) * 64 + std::countr_zero(bits);
  }
  return ChannelTotals::kNever;
}

/// 1, 2, 3, 5, 7, 10, 20, … below `last`, and `last`.
std::vector<std::int64_t> points(std::int64_t last) {
  std::vector<std::int64_t> result;
  for (std::int64_t decade = 1; decade <= last; decade *= 10) {
    for (const std::int64_t digit : {1, 2, 3, 5, 7}) {
      if (digit * decade < last) result.push_back(digit * decade);
    }
    if (decade > last / 10) break;
  }
  if (last > 0) result.push_back(last);
  return result;
}

}  // namespace

Discovery discover(const StatisticsData& data) {
  Discovery discovery;
  discovery.by_group = data.group_count > 0;
  discovery.trials = discovery.by_group ? data.group_count : data.samples;
  std::vector<std::int64_t> first;
  for (const LayerRecord& layer : data.layers) {
    const kernels::Activation activation = layer.activation();
    for (std::size_t c = 0; c < layer.totals.channels.size(); ++c) {
      const auto index = static_cast<std::int64_t>(c);
      if (firing_of(activation, index).nature != Nature::Rectifier) continue;
      ++discovery.channels;
      const ChannelTotals& totals = layer.totals.channels[c];
      const ChannelStatistics s = layer.totals.statistics(index, data.group_count);
      const std::int64_t fired = discovery.by_group ? s.groups_fired : s.samples_fired;
      if (fired == 0) continue;
      first.push_back(first_trial(totals, discovery.by_group));
      if (fired == 1) ++discovery.fired_once;
      if (fired == 2) ++discovery.fired_twice;
    }
  }
  std::ranges::sort(first);
  discovery.fired = static_cast<std::int64_t>(first.size());
  for (const std::int64_t trials : points(discovery.trials)) {
    const auto until = std::ranges::lower_bound(first, trials);
    discovery.curve.push_back({trials, until - first.begin()});
  }
  const auto once = static_cast<double>(discovery.fired_once);
  const auto twice = static_cast<double>(discovery.fired_twice);
  if (discovery.trials > 0) discovery.expected_next = once / static_cast<double>(discovery.trials);
  discovery.still_to_wake = std::min(once * (once - 1.0) / (2.0 * (twice + 1.0)),
                                     static_cast<double>(discovery.channels - discovery.fired));
  return discovery;
}

}  // namespace ember::auditing
