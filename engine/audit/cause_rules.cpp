#include "audit/cause_rules.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>

#include "audit/upstream.hpp"

namespace ember::auditing {

namespace {

using graph::kNoNode;

/// Beside its mates, this is nothing.
constexpr double kNothing = 1e-3;

double median(std::vector<double> values) {
  if (values.empty()) return 0.0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

double norm(const std::vector<float>& row) {
  double sum = 0.0;
  for (const float w : row) sum += static_cast<double>(w) * w;
  return std::sqrt(sum);
}

bool is_mate(const ChannelReport& channel) { return !never_fired(channel) && !pinned(channel); }

/// A normal row of a given norm whose sum is not negative, for inputs mostly are not either. The same for the
/// same channel, everywhere.
std::vector<float> draw(std::size_t count, double size, std::int64_t channel) {
  std::mt19937_64 random(0x9E3779B97F4A7C15ULL ^ static_cast<std::uint64_t>(channel));
  const auto uniform = [&] { return (static_cast<double>(random() >> 11U) + 0.5) * 0x1p-53; };
  std::vector<double> values;
  double sum = 0.0;
  double squares = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    const double radius = std::sqrt(-2.0 * std::log(uniform()));
    const double value = radius * std::cos(2.0 * std::numbers::pi * uniform());
    values.push_back(value);
    sum += value;
    squares += value * value;
  }
  const double factor = (sum < 0.0 ? -1.0 : 1.0) * size / std::sqrt(squares);
  std::vector<float> row;
  for (const double value : values) row.push_back(static_cast<float>(value * factor));
  return row;
}

}  // namespace

bool asks_why(const ChannelReport& channel) {
  return never_fired(channel) || channel.verdict == Verdict::Rare || pinned(channel);
}

Moments moments_before(const ChannelStatistics& s) {
  const auto n = static_cast<double>(std::max<std::int64_t>(1, s.positions - s.not_finite));
  const double mean = s.pre_sum / n;
  return {mean, std::max(0.0, s.pre_sum_squares / n - mean * mean)};
}

bool pinned(const ChannelReport& channel) {
  if (channel.verdict == Verdict::Saturated) return true;
  const ChannelStatistics& s = channel.statistics;
  return channel.verdict == Verdict::Constant && s.samples > 0 && s.samples_saturated == s.samples;
}

std::int64_t samples_alive(const ChannelStatistics& s, bool pinned) {
  if (pinned) return s.samples - s.samples_saturated;
  return s.out_min == s.out_max ? 0 : s.samples_fired;
}

CauseRules::CauseRules(const graph::Graph& graph, const LayerReport& layer, const LayerCase& of)
    : graph_(graph), of_(of) {
  const Producer& producer = of.producer;
  for (std::int64_t c = 0; c < producer.channels; ++c) norms_.push_back(norm(producer.row(graph, c)));
  std::vector<std::int64_t> mates;
  for (const ChannelReport& channel : layer.channels) {
    if (is_mate(channel)) mates.push_back(channel.index);
  }
  if (mates.empty()) {  // then all have to do
    for (const ChannelReport& channel : layer.channels) mates.push_back(channel.index);
  }
  const auto over_mates = [&](auto&& value) {
    std::vector<double> values;
    for (const std::int64_t mate : mates) values.push_back(value(mate));
    return median(std::move(values));
  };
  norm_ = over_mates([&](std::int64_t c) { return norms_[static_cast<std::size_t>(c)]; });
  normalised_norm_ =
      over_mates([&](std::int64_t c) { return norms_[static_cast<std::size_t>(c)] / deviation(c); });
  if (producer.batch_norm != kNoNode) {
    gamma_ = over_mates([&](std::int64_t c) { return std::abs(entry(graph, normalisation(1), c)); });
    variance_ = over_mates([&](std::int64_t c) { return entry(graph, normalisation(4), c); });
  }
  if (producer.shift.node != kNoNode) {
    shift_ =
        over_mates([&](std::int64_t c) { return producer.shift_factor * entry(graph, producer.shift, c); });
  }
}

std::string CauseRules::name(const Producer::Parameter& parameter) const {
  return graph_.value(graph_.node(parameter.node).inputs[static_cast<std::size_t>(parameter.input)]).name;
}

double CauseRules::deviation(std::int64_t channel) const {
  if (of_.producer.batch_norm == kNoNode) return 1.0;
  const auto& attributes = graph_.node(of_.producer.batch_norm).attributes;
  const auto found = attributes.find("epsilon");
  const double epsilon = found == attributes.end() ? 1e-5 : std::get<float>(found->second);
  return std::sqrt(std::max(1e-30, entry(graph_, normalisation(4), channel) + epsilon));
}

bool CauseRules::decayed(std::int64_t channel) const {
  const double own = norms_[static_cast<std::size_t>(channel)];
  if (own == 0.0) return true;
  // Under BatchNormalization the size of weights means little by itself: they also have to be small beside
  // the deviation that they are divided by.
  return own <= kNothing * norm_ && own / deviation(channel) <= kNothing * normalised_norm_;
}

bool CauseRules::collapsed(std::int64_t channel) const {
  if (of_.producer.batch_norm == kNoNode) return false;
  const double gamma = std::abs(entry(graph_, normalisation(1), channel));
  return gamma == 0.0 || gamma <= kNothing * gamma_;
}

Candidate CauseRules::redrawn(std::int64_t channel) const {
  const std::vector<float> old = of_.producer.row(graph_, channel);
  // He's size where no mate has any.
  const double size = norm_ > 0.0 ? norm_ : std::numbers::sqrt2;
  Candidate candidate{.cause = Cause::Decayed, .row = draw(old.size(), size, channel)};
  candidate.counterfactual.edit = Edit::RedrawWeights;
  candidate.counterfactual.tensor = name(of_.producer.weight);
  candidate.counterfactual.from = norms_[static_cast<std::size_t>(channel)];
  candidate.counterfactual.to = size;
  return candidate;
}

std::optional<Candidate> CauseRules::biased(const ChannelReport& channel) const {
  const Producer& producer = of_.producer;
  if (producer.shift.node == kNoNode) return std::nullopt;
  const kernels::FiringRule rule = firing_of(of_.pattern.function, channel.index).rule;
  const double old = producer.shift_factor * entry(graph_, producer.shift, channel.index);
  const double low = pinned(channel) ? rule.saturated_up_to : rule.fired_above;
  const double high = pinned(channel) ? rule.saturated_from : rule.fired_below;
  // Without the bias, over all samples.
  const double least = channel.statistics.pre_min - old;
  const double most = channel.statistics.pre_max - old;
  const auto reaches = [&](double bias) { return most + bias > low && least + bias < high; };
  if (!reaches(0.0)) return std::nullopt;
  double better = pinned(channel) ? shift_ : std::min(shift_, 0.0);
  // What only the most extreme sample would feel shows nothing.
  if (!reaches(better) || (!pinned(channel) && most + better < low + 0.25 * (most - low))) better = 0.0;
  if (std::abs(old) <= std::abs(better)) return std::nullopt;
  const Moments moments = moments_before(channel.statistics);
  // Where w·x alone would fire it in the rarest of cases only, the bias is not what keeps it silent.
  constexpr double kReach = 2.5;  // deviations
  if (!pinned(channel) && moments.mean - old + kReach * std::sqrt(moments.variance) < low)
    return std::nullopt;
  Candidate candidate{.cause = Cause::BiasDominated};
  if (moments.variance > 0.0) candidate.deviations = std::abs(old) / std::sqrt(moments.variance);
  candidate.counterfactual.edit = Edit::Bias;
  candidate.counterfactual.tensor = name(producer.shift);
  candidate.counterfactual.from = old / producer.shift_factor;
  candidate.counterfactual.to = better / producer.shift_factor;
  return candidate;
}

Candidate CauseRules::first(const ChannelReport& channel) const {
  const Producer& producer = of_.producer;
  const std::int64_t c = channel.index;
  const auto at = static_cast<std::size_t>(c);
  if (decayed(c)) return redrawn(c);
  if (collapsed(c)) {
    Candidate candidate{.cause = Cause::BatchNormCollapsed};
    candidate.counterfactual = {.edit = Edit::BatchNormScale,
                                .tensor = name(normalisation(1)),
                                .from = entry(graph_, normalisation(1), c),
                                .to = gamma_ > 0.0 ? gamma_ : 1.0};
    return candidate;
  }
  Candidate negated{.row = producer.row(graph_, c)};
  const bool all_off =
      std::ranges::all_of(negated.row, [&](float w) { return producer.scale[at] * w <= 0.0; });
  for (float& w : negated.row) w = -w;
  negated.counterfactual = {.edit = Edit::NegateWeights, .tensor = name(producer.weight)};
  const double low = firing_of(of_.pattern.function, c).rule.fired_above;
  if (never_fired(channel) && all_off && of_.input_never_negative && !producer.residual &&
      producer.offset[at] <= low) {
    negated.cause = Cause::SignDead;
    return negated;
  }
  if (std::optional<Candidate> bias = biased(channel)) return *bias;
  if (!never_fired(channel)) return {};
  negated.cause = Cause::NegativeAlignment;
  return negated;
}

std::optional<Candidate> CauseRules::stale(const ChannelReport& channel, const Moments& data) const {
  if (of_.producer.batch_norm == kNoNode) return std::nullopt;
  const double mean = entry(graph_, normalisation(3), channel.index);
  const double spread = deviation(channel.index);
  if (data.variance <= 0.0) return std::nullopt;
  constexpr double kFar = 0.5;     // deviations
  constexpr double kFactor = 4.0;  // of the variance
  const double ratio = data.variance / (spread * spread);
  if (std::abs(data.mean - mean) <= kFar * spread && ratio < kFactor && ratio > 1.0 / kFactor)
    return std::nullopt;
  Candidate candidate{.cause = Cause::BatchNormStale};
  candidate.counterfactual = {.edit = Edit::BatchNormStatistics,
                              .tensor = name(normalisation(3)),
                              .from = mean,
                              .to = data.mean,
                              .variance_from = entry(graph_, normalisation(4), channel.index),
                              .variance_to = data.variance};
  return candidate;
}

std::vector<Producer::Change> CauseRules::changes(const Candidate& candidate) const {
  const Producer& producer = of_.producer;
  const Counterfactual& change = candidate.counterfactual;
  const auto to = [](const Producer::Parameter& parameter, double value) {
    return Producer::Change{parameter, static_cast<float>(value)};
  };
  switch (change.edit) {
    case Edit::RedrawWeights: {
      std::vector<Producer::Change> all;
      for (const Producer::Parameter& added : producer.added) all.push_back(to(added, 0.0));
      if (producer.batch_norm != kNoNode) {
        all.push_back(to(normalisation(1), gamma_ > 0.0 ? gamma_ : 1.0));
        all.push_back(to(normalisation(2), 0.0));
        all.push_back(to(normalisation(3), 0.0));
        all.push_back(to(normalisation(4), variance_));
      }
      return all;
    }
    case Edit::BatchNormScale: return {to(normalisation(1), change.to)};
    case Edit::BatchNormStatistics:
      return {to(normalisation(3), change.to), to(normalisation(4), change.variance_to)};
    case Edit::Bias: return {to(producer.shift, change.to)};
    case Edit::NegateWeights:
    case Edit::UpstreamMeans:
    case Edit::None: break;
  }
  return {};
}

void CauseRules::apply(const Candidate& candidate, std::int64_t channel, TwinParameters& parameters) const {
  if (!candidate.row.empty()) parameters.set_row(channel, candidate.row);
  for (const Producer::Change& change : changes(candidate)) {
    parameters.set(change.parameter, channel, change.value);
  }
}

}  // namespace ember::auditing
