#include "audit/judge.hpp"

#include <algorithm>
#include <cmath>

#include "audit/binomial.hpp"
#include "audit/firing.hpp"

namespace ember::auditing {

namespace {

double mean_magnitude(const ChannelStatistics& s) {
  const std::int64_t finite = s.positions - s.not_finite;
  return finite > 0 ? s.out_sum_abs / static_cast<double>(finite) : 0.0;
}

/// What a rate is a share of: samples, or groups of them. A position that is not finite takes one away.
std::int64_t trials_of(const ChannelStatistics& s) {
  return std::max<std::int64_t>(0, (s.groups > 0 ? s.groups : s.samples) - s.not_finite);
}

std::int64_t trials_fired(const ChannelStatistics& s) {
  return s.groups > 0 ? s.groups_fired : s.samples_fired;
}

bool acted_linearly(const ChannelStatistics& s, const Firing& firing) {
  if (s.positions_saturated > 0) return false;
  if (std::isnan(s.pre_min)) {  // only firing was counted
    const bool saturates =
        std::isfinite(firing.rule.saturated_from) || std::isfinite(firing.rule.saturated_up_to);
    return firing.linear_above && !saturates && s.positions_fired == s.positions;
  }
  return (firing.linear_above && s.positions_fired == s.positions) ||
         (firing.linear_below && s.positions_fired == 0 && s.not_finite == 0);
}

Verdict verdict_of(const ChannelReport& channel, const Firing& firing, bool network_output,
                   std::int64_t trials, const Standards& standards) {
  const ChannelStatistics& s = channel.statistics;
  if (trials == 0) return Verdict::Healthy;
  const bool rectifier = firing.nature == Nature::Rectifier;
  const bool always_zero = s.out_min == 0.0 && s.out_max == 0.0;
  if (always_zero || (rectifier && s.samples_fired == 0)) return Verdict::Silent;
  if (rectifier &&
      static_cast<double>(trials_fired(s)) < standards.rare_below * static_cast<double>(trials)) {
    return Verdict::Rare;
  }
  if (!network_output && channel.dormancy <= standards.dormant_tau) return Verdict::Dormant;
  if (s.out_min == s.out_max && s.positions - s.not_finite > 1) return Verdict::Constant;
  if (s.samples_saturated == s.samples) return Verdict::Saturated;
  return acted_linearly(s, firing) ? Verdict::AlwaysOn : Verdict::Healthy;
}

}  // namespace

void judge(LayerReport& layer, const kernels::Activation& activation, bool network_output,
           const Standards& standards) {
  double layer_mean = 0.0;
  for (const ChannelReport& channel : layer.channels) layer_mean += mean_magnitude(channel.statistics);
  layer_mean /= std::max(1.0, static_cast<double>(layer.channels.size()));
  const double alpha = standards.alpha / static_cast<double>(std::max<std::int64_t>(1, standards.channels));
  for (ChannelReport& channel : layer.channels) {
    const ChannelStatistics& s = channel.statistics;
    const std::int64_t trials = trials_of(s);
    channel.dormancy = mean_magnitude(s) / (layer_mean + 1e-9);
    channel.verdict =
        verdict_of(channel, firing_of(activation, channel.index), network_output, trials, standards);
    channel.rate_bound = 0.0;
    if (channel.verdict == Verdict::Silent) channel.rate_bound = upper_rate(0, trials, alpha);
    if (channel.verdict == Verdict::Rare) channel.rate_bound = upper_rate(trials_fired(s), trials, alpha);
  }
}

}  // namespace ember::auditing
