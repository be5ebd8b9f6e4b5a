#include "audit/witness.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <set>
#include <utility>

namespace ember::auditing {

namespace {

/// So many samples at a time that values and gradients stay within some hundred megabytes.
std::size_t batch_for(const Model& model, const std::string& input, const Shape& shape, bool open_batch,
                      std::span<const Claim> claims) {
  const auto fixed = static_cast<std::size_t>(shape.rank() > 0 ? shape[0] : 1);
  if (!open_batch || shape.rank() < 2) return std::max<std::size_t>(1, fixed);
  const Formulas formulas(model, {{input, shape}});
  std::int64_t elements = 1;
  for (const Variable& variable : formulas.variables()) elements += variable.size();
  // Samples must stay apart on the first axis of every value looked at.
  const Formulas two(model, {{input, shape.with(0, 2)}});
  if (two.variables().size() != formulas.variables().size()) return 1;
  for (const Claim& claim : claims) {
    if (two.variable(claim.variable).size() != 2 * formulas.variable(claim.variable).size()) return 1;
  }
  return static_cast<std::size_t>(std::clamp<std::int64_t>((std::int64_t{1} << 23) / elements, 1, 32));
}

std::vector<std::string> watched(const Formulas& formulas, std::span<const Claim> claims) {
  std::set<std::string> names;
  for (const Claim& claim : claims) names.insert(formulas.variable(claim.variable).name);
  return {names.begin(), names.end()};
}

Shape with_batch(const Shape& shape, std::size_t batch, bool open_batch) {
  return open_batch && shape.rank() > 1 ? shape.with(0, static_cast<std::int64_t>(batch)) : shape;
}

}  // namespace

/// Keeps the values before the activations.
class WitnessSearch::Watch final : public Observer {
 public:
  std::map<std::string, std::vector<float>> values;
  bool wants(const std::string& value, const std::string& /*node*/, const std::string& /*op*/) override {
    return values.contains(value);
  }
  void observe(const std::string& value, const ConstTensorView& tensor) override {
    const auto elements = tensor.data<float>();
    values[value].assign(elements.begin(), elements.end());
  }
};

WitnessSearch::WitnessSearch(const Model& model, std::string input, const Shape& input_shape, bool open_batch,
                             const Domain& domain, std::span<const Claim> claims, int threads)
    : input_(std::move(input)),
      domain_(domain),
      claims_(claims),
      batch_(batch_for(model, input_, input_shape, open_batch, claims)),
      elements_(domain.size()),
      gradient_(model, {{input_, with_batch(input_shape, batch_, open_batch)}}, threads,
                watched(Formulas(model, {{input_, input_shape}}), claims)),
      best_(claims.size()),
      starts_(claims.size()),
      watch_(std::make_unique<Watch>()) {
  const Formulas single(model, {{input_, input_shape}});
  for (const Claim& claim : claims) {
    const std::string& name = single.variable(claim.variable).name;
    watch_->values[name];
    variables_.push_back(gradient_.formulas().find(name));
  }
  SessionOptions options;
  options.input_shapes = {{input_, input_shape}};
  options.observers = {watch_.get()};
  plain_ = std::make_unique<Session>(model, std::move(options));
}

WitnessSearch::~WitnessSearch() = default;

bool WitnessSearch::open(std::size_t claim) const {
  return claims_[claim].kind == Claim::Kind::Dead && claims_[claim].open();
}

void WitnessSearch::put(std::size_t slot, std::span<const float> input) {
  const auto to = gradient_.input(input_).data<float>();
  std::ranges::copy(input, to.begin() + static_cast<std::ptrdiff_t>(slot * elements_));
}

/// Where a claim's channel is highest for the sample in a slot; as an element of the whole batch.
std::pair<double, std::int32_t> WitnessSearch::highest(std::size_t claim, std::size_t slot) const {
  const auto values = gradient_.value(variables_[claim]);
  const auto each = values.size() / batch_;
  double best = -std::numeric_limits<double>::infinity();
  std::int32_t where = -1;
  for (const std::int32_t position : claims_[claim].positions) {
    const auto at = slot * each + static_cast<std::size_t>(position) % std::max<std::size_t>(each, 1);
    if (at >= values.size()) continue;
    const auto value = double{values[at]};
    if (value > best) {
      best = value;
      where = static_cast<std::int32_t>(at);
    }
  }
  return {best, where};
}

void WitnessSearch::try_firing(std::size_t index, std::span<const float> input, const Found& found) {
  const Claim& claim = claims_[index];
  const auto to = plain_->input(input_).data<float>();
  for (std::size_t first = 0; first < to.size(); first += elements_)
    std::ranges::copy(input, to.begin() + static_cast<std::ptrdiff_t>(first));
  plain_->run();
  const std::vector<float>& values = watch_->values.at(gradient_.formulas().variable(variables_[index]).name);
  double best = -std::numeric_limits<double>::infinity();
  for (const std::int32_t position : claim.positions) {
    const float value = values[static_cast<std::size_t>(position)];
    const bool fires = value > claim.firing.rule.fired_above && value < claim.firing.rule.fired_below;
    if (fires && std::isfinite(value)) best = std::max(best, double{value});
  }
  if (std::isfinite(best)) found(index, input, best);
}

/// Looks at what the last run did to every open claim.
void WitnessSearch::check_all(std::size_t slots, const Found& found) {
  const auto inputs = gradient_.input(input_).data<float>();
  for (std::size_t c = 0; c < claims_.size(); ++c) {
    for (std::size_t slot = 0; slot < slots && open(c); ++slot) {
      const auto [value, where] = highest(c, slot);
      if (where < 0) continue;
      const auto input = inputs.subspan(slot * elements_, elements_);
      if (value > best_[c].value) best_[c] = {value, {input.begin(), input.end()}, true};
      if (value > claims_[c].threshold()) try_firing(c, input, found);
    }
  }
}

std::vector<float> WitnessSearch::random_input(bool corner) {
  std::vector<float> input(elements_);
  for (std::size_t i = 0; i < elements_; ++i) {
    const auto bits = random_();
    const float share = corner ? static_cast<float>(bits & 1U) : static_cast<float>(bits >> 40) * 0x1p-24F;
    input[i] = std::clamp(domain_.lower[i] + share * domain_.extent(i), domain_.lower[i], domain_.upper[i]);
  }
  return input;
}

void WitnessSearch::look_around(Samples& samples, std::int64_t count, const Shape& with_batch_axis,
                                const Stop& stop, const Found& found) {
  const std::int64_t use = std::min(count, samples.count());
  std::vector<float> sample(elements_);
  std::size_t slot = 0;
  const auto flush = [&] {
    if (slot == 0) return;
    run();
    check_all(slot, found);
    slot = 0;
  };
  const auto add = [&](std::vector<float> input) {
    for (std::size_t i = 0; i < elements_; ++i) {
      const float value = std::isnan(input[i]) ? domain_.lower[i] : input[i];
      input[i] = std::clamp(value, domain_.lower[i], domain_.upper[i]);
    }
    put(slot++, input);
    if (slot == batch_) flush();
  };
  for (int i = 0; i < 64 && !stop(); ++i) add(random_input(i % 2 == 0));
  for (std::int64_t i = 0; i < use && !stop(); ++i) {
    samples.read(i * samples.count() / use, 1, with_batch_axis.with(0, 1), sample.data());
    add(sample);
  }
  flush();
}

void WitnessSearch::suggest(std::size_t claim, std::vector<float> input) {
  starts_[claim].push_back(std::move(input));
}

void WitnessSearch::climb(int restarts, const Stop& stop, const Found& found) {
  for (int round = -1; round < restarts && !stop(); ++round) {
    std::vector<Climber> climbers;
    for (std::size_t c = 0; c < claims_.size(); ++c) {
      if (!open(c)) continue;
      if (round >= 0) {
        climbers.push_back({c, random_input(round % 2 == 0)});
        continue;
      }
      for (std::vector<float>& start : starts_[c]) climbers.push_back({c, std::move(start)});
      starts_[c].clear();
      if (std::exchange(best_[c].fresh, false)) climbers.push_back({c, best_[c].input});
    }
    for (std::size_t first = 0; first < climbers.size() && !stop(); first += batch_) {
      climb_together(std::span(climbers).subspan(first, std::min(batch_, climbers.size() - first)), stop,
                     found);
    }
  }
}

/// Steps along the sign of the gradient, which lead to a corner of the domain where the network is linear;
/// ever shorter ones.
void WitnessSearch::climb_together(std::span<Climber> climbers, const Stop& stop, const Found& found) {
  constexpr int kSteps = 24;
  constexpr double kFirst = 0.6, kLast = 0.01;
  const int input = gradient_.formulas().inputs()[0];
  for (int step = 0; step <= kSteps && !stop(); ++step) {
    bool any = false;
    for (std::size_t slot = 0; slot < climbers.size(); ++slot) {
      put(slot, climbers[slot].at);
      any = any || open(climbers[slot].claim);
    }
    if (!any) return;
    run();
    check_all(climbers.size(), found);
    if (step == kSteps) return;
    std::map<int, Gradient::Seed> seeds;
    for (std::size_t slot = 0; slot < climbers.size(); ++slot) {
      const std::size_t claim = climbers[slot].claim;
      const auto [value, where] = highest(claim, slot);
      if (!open(claim) || where < 0) continue;
      Gradient::Seed& seed = seeds[variables_[claim]];
      seed.variable = variables_[claim];
      seed.values.resize(static_cast<std::size_t>(gradient_.formulas().variable(seed.variable).size()));
      seed.values[static_cast<std::size_t>(where)] = 1.0;
    }
    std::vector<Gradient::Seed> all;
    for (auto& [variable, seed] : seeds) all.push_back(std::move(seed));
    gradient_.backward(all);
    const auto slopes = gradient_.gradient(input);
    const auto length =
        static_cast<float>(kFirst * std::pow(kLast / kFirst, static_cast<double>(step) / kSteps));
    for (std::size_t slot = 0; slot < climbers.size(); ++slot) {
      std::vector<float>& at = climbers[slot].at;
      bool flat = true;
      for (std::size_t i = 0; i < elements_; ++i) {
        const double slope = slopes.empty() ? 0.0 : slopes[slot * elements_ + i];
        if (slope == 0.0) continue;
        flat = false;
        const float moved = at[i] + (slope > 0.0 ? length : -length) * domain_.extent(i);
        at[i] = std::clamp(moved, domain_.lower[i], domain_.upper[i]);
      }
      if (flat) at = random_input(step % 2 == 0);
    }
  }
}

}  // namespace ember::auditing
