#include "audit/claims.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "audit/rounding.hpp"
#include "ops/activation_pattern.hpp"

namespace ember::auditing {

std::vector<std::int32_t> channel_positions(const Shape& shape, int axis, std::int64_t c) {
  const std::int64_t inner = shape.elements(axis + 1, shape.rank());
  const std::int64_t outer = shape.elements(0, axis);
  std::vector<std::int32_t> positions;
  positions.reserve(static_cast<std::size_t>(inner * outer));
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t i = 0; i < inner; ++i)
      positions.push_back(static_cast<std::int32_t>((o * shape[axis] + c) * inner + i));
  }
  return positions;
}

std::vector<Claim::Side> Claim::sides() const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const bool above = firing.linear_above && channel->statistics.pre_min > threshold();
  if (kind != Kind::AlwaysOn || (!above && firing.linear_below)) return {{1.0, threshold()}};
  if (!above) return {{1.0, -kInfinity}};  // never: nothing is linear there
  // A subnormal may count as 0. Both limits are strict.
  const double bottom = std::nextafter(threshold() + kFlush, kInfinity);
  const double top = std::min(double{firing.rule.fired_below}, double{firing.rule.saturated_from});
  return {{-1.0, -bottom}, {1.0, std::nextafter(top, -kInfinity)}};
}

bool Claim::holds(const Bounds& bounds) const {
  return std::ranges::all_of(sides(), [&](const Side& side) {
    return std::ranges::all_of(positions, [&](std::int32_t i) {
      const Interval x = bounds.at(static_cast<std::size_t>(i));
      return (side.sign > 0.0 ? x.upper : -x.lower) <= side.limit;
    });
  });
}

void Claim::note(const Bounds& bounds) const {
  double lower = std::numeric_limits<double>::infinity(), upper = -lower;
  for (const std::int32_t i : positions) {
    lower = std::min(lower, bounds.lower[static_cast<std::size_t>(i)]);
    upper = std::max(upper, bounds.upper[static_cast<std::size_t>(i)]);
  }
  channel->bound_lower = lower;
  channel->bound_upper = upper;
}

std::vector<Claim> claims_of(AuditReport& report, const graph::Graph& graph, const Formulas& formulas) {
  std::vector<Claim> claims;
  for (const ops::ActivationPattern& pattern : ops::find_activations(graph)) {
    const std::string& value = graph.value(pattern.output).name;
    const auto layer = std::ranges::find(report.layer_reports, value, &LayerReport::value);
    const int variable = formulas.find(graph.value(pattern.input).name);
    if (layer == report.layer_reports.end() || variable < 0 || !formulas.variable(variable).known) continue;
    const Shape& shape = formulas.variable(variable).shape;
    const int axis = layer->channel_axis < 0 ? layer->channel_axis + shape.rank() : layer->channel_axis;
    if (axis >= shape.rank() || shape[axis] != static_cast<std::int64_t>(layer->channels.size())) continue;
    for (ChannelReport& channel : layer->channels) {
      const Firing firing = firing_of(pattern.function, channel.index);
      Claim claim{
          .channel = &channel, .layer = &*layer, .variable = variable, .positions = {}, .firing = firing};
      if ((channel.verdict == Verdict::Silent || channel.verdict == Verdict::ProvedDead) &&
          firing.nature == Nature::Rectifier)
        claim.kind = Claim::Kind::Dead;
      else if (channel.verdict == Verdict::AlwaysOn) claim.kind = Claim::Kind::AlwaysOn;
      else if (firing.nature == Nature::Rectifier && channel.statistics.samples_fired > 0)
        claim.kind = Claim::Kind::Fires;
      else continue;
      claim.positions = channel_positions(shape, axis, channel.index);
      claims.push_back(std::move(claim));
    }
  }
  return claims;
}

}  // namespace ember::auditing
