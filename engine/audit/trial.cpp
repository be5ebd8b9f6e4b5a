#include "audit/trial.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "audit/firing.hpp"

namespace ember::auditing {

namespace {

using graph::kNoNode;
using graph::NodeId;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool pools(const graph::Graph& graph, const Producer& producer, NodeId behind = kNoNode) {
  const auto first = behind == kNoNode ? producer.nodes.begin() : std::ranges::find(producer.nodes, behind);
  return std::any_of(first, producer.nodes.end(), [&](NodeId id) { return graph.node(id).op == "MaxPool"; });
}

/// Values that are so many times larger than what varies of them: rounding leaves too little of their
/// extremes, and of their squares.
constexpr double kFaintExtremes = 1e3;
constexpr double kFaintSquares = 100.0;

bool faint(const ChannelStatistics& s, double times) {
  const double size = std::max(std::abs(s.pre_min), std::abs(s.pre_max));
  return s.pre_min < s.pre_max && times * std::sqrt(moments_before(s).variance) < size;
}

/// What turns values made one way into those made the other way.
ChangedValues between(const Linear& now, const Linear& then) {
  const double scale = then.scale == now.scale ? 1.0 : then.scale / now.scale;
  const double offset = then.offset - scale * now.offset;
  return {scale, offset, offset};
}

/// The extremes that a sample's changed values surely reach, and those that they may.
struct Reach {
  float least_sure, least, most_sure, most;
};

Reach reach(const Range& range, const ChangedValues& change) {
  const double a = change.scale * (change.scale < 0.0 ? range.high : range.low);
  const double b = change.scale * (change.scale < 0.0 ? range.low : range.high);
  // Where all positions have the same value, one of them has it with either end of the change.
  const bool even = range.low == range.high;
  return {static_cast<float>(a + (even ? change.low : change.high)), static_cast<float>(a + change.low),
          static_cast<float>(b + (even ? change.high : change.low)), static_cast<float>(b + change.high)};
}

}  // namespace

std::optional<ChangedValues> changed_values(const graph::Graph& graph, const Producer& producer,
                                            const ChannelReport& audited, const CauseRules& rules,
                                            const Candidate& candidate) {
  const Edit edit = candidate.counterfactual.edit;
  if (edit == Edit::RedrawWeights) return std::nullopt;
  const Linear now = producer.linear_of(graph, audited.index);
  Linear then = producer.linear_of(graph, audited.index, rules.changes(candidate));
  if (edit == Edit::NegateWeights) then.scale = -then.scale;
  const ChangedValues change = between(now, then);
  if (!std::isfinite(change.scale) || !std::isfinite(change.low)) return std::nullopt;
  if (change.scale != 1.0 && (producer.residual || faint(audited.statistics, kFaintExtremes)))
    return std::nullopt;
  if (change.scale <= 0.0 && pools(graph, producer)) return std::nullopt;
  // What does not vary may have lost what made it vary.
  constexpr double kMost = 16.0;
  const bool varies = audited.statistics.pre_min < audited.statistics.pre_max;
  if (!varies && std::abs(change.scale) > kMost) return std::nullopt;
  return change;
}

std::optional<ChangedValues> changed_normalisation(const graph::Graph& graph, const Producer& producer,
                                                   std::int64_t channel, const CauseRules& rules,
                                                   const Candidate& candidate) {
  if (producer.residual || pools(graph, producer, producer.batch_norm)) return std::nullopt;
  const ChangedValues change = between(producer.linear_of(graph, channel, {}, producer.batch_norm),
                                       producer.linear_of(graph, channel, rules.changes(candidate)));
  return std::isfinite(change.scale) && std::isfinite(change.low) ? std::optional(change) : std::nullopt;
}

std::optional<Linear> normalisation_of(const graph::Graph& graph, const Producer& producer,
                                       const ChannelReport& audited) {
  if (producer.residual || pools(graph, producer, producer.batch_norm)) return std::nullopt;
  const std::int64_t channel = audited.index;
  const Linear read = producer.linear_of(graph, channel, {}, producer.batch_norm);
  const Linear made = producer.linear_of(graph, channel);
  const double scale = made.scale / read.scale;
  const double offset = made.offset - scale * read.offset;
  if (scale == 0.0 || !std::isfinite(scale) || !std::isfinite(offset)) return std::nullopt;
  const double deviation = std::sqrt(entry(graph, {producer.batch_norm, 4}, channel));
  const bool lost = !(std::abs(offset) <= kFaintExtremes * std::abs(scale) * deviation);
  return lost || faint(audited.statistics, kFaintSquares) ? std::nullopt
                                                          : std::optional(Linear{scale, offset});
}

Moments moments_in_front_of(const Linear& change, const ChannelStatistics& behind) {
  const Moments moments = moments_before(behind);
  // Of values that are all the same, the sums of squares leave a variance that is none.
  const double variance = behind.pre_min == behind.pre_max ? 0.0 : moments.variance;
  return {(moments.mean - change.offset) / change.scale, variance / (change.scale * change.scale)};
}

bool told_by_extremes(const kernels::Activation& activation, bool pinned) {
  const kernels::FiringRule rule = firing_of(activation, 0).rule;
  if (!pinned) return rule.fired_below == kInfinity;
  return rule.saturated_up_to == -kInfinity || rule.saturated_from == kInfinity;
}

std::optional<std::int64_t> samples_alive(std::span<const Range> samples, const ChangedValues& change,
                                          const kernels::Activation& activation, bool pinned) {
  const kernels::FiringRule rule = firing_of(activation, 0).rule;
  std::int64_t alive = 0;
  float least = kInfinity, most = -kInfinity;
  for (const Range& range : samples) {
    if (range.low > range.high) {  // no value, or none that is a number
      if (pinned) return std::nullopt;
      continue;
    }
    const Reach values = reach(range, change);
    bool sure = false, possible = false;
    if (!pinned) {
      sure = values.most_sure > rule.fired_above;
      possible = values.most > rule.fired_above;
    } else if (rule.saturated_up_to == -kInfinity) {
      sure = values.least_sure < rule.saturated_from;
      possible = values.least < rule.saturated_from;
    } else {
      sure = values.most_sure > rule.saturated_up_to;
      possible = values.most > rule.saturated_up_to;
    }
    if (sure != possible) return std::nullopt;
    alive += sure ? 1 : 0;
    least = std::min(least, values.least_sure);
    most = std::max(most, values.most_sure);
  }
  if (pinned || alive == 0) return alive;
  // What fires and never varies is as good as off.
  const bool clips = activation.kind == kernels::ActivationKind::Clip;
  const float top = clips ? activation.beta : kInfinity;
  if (std::min(least, top) < std::min(most, top)) return alive;
  if (change.low != change.high) return std::nullopt;
  return 0;
}

}  // namespace ember::auditing
