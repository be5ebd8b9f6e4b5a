#include "audit/witness.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <set>
#include <utility>

namespace ember::auditing {

namespace {

std::vector<std::string> watched(const Formulas& formulas, std::span<const Claim> claims) {
  std::set<std::string> names;
  for (const Claim& claim : claims) names.insert(formulas.variable(claim.variable).name);
  return {names.begin(), names.end()};
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
      elements_(domain.size()),
      gradient_(model, {{input_, input_shape}}, threads,
                watched(Formulas(model, {{input_, input_shape}}), claims),
                open_batch ? gradient_lanes(model, input_, input_shape, 32) : 1),
      batch_(gradient_.lanes()),
      close_(claims.size()),
      starts_(claims.size()),
      watch_(std::make_unique<Watch>()) {
  constexpr std::size_t kFloats = std::size_t{1} << 26;
  const auto dead = static_cast<std::size_t>(std::ranges::count(claims, Claim::Kind::Dead, &Claim::kind));
  closest_ = std::clamp<std::size_t>(kFloats / std::max<std::size_t>(1, dead * elements_), 1, closest_);
  for (const Claim& claim : claims) {
    sides_.push_back(claim.sides());
    watch_->values[gradient_.formulas().variable(claim.variable).name];
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

/// A batch that the model fixes holds the same input over and over.
void WitnessSearch::put(std::size_t slot, std::span<const float> input) {
  const auto all = gradient_.input(input_).data<float>();
  const auto to = all.subspan(slot * (all.size() / batch_), all.size() / batch_);
  for (std::size_t first = 0; first < to.size(); first += elements_)
    std::ranges::copy(input, to.begin() + static_cast<std::ptrdiff_t>(first));
}

/// Where a claim's channel is farthest beyond its limits (or closest to them) for the input in a slot, and by
/// how much.
WitnessSearch::Farthest WitnessSearch::farthest(std::size_t claim, std::size_t slot) const {
  const auto values = gradient_.value(claims_[claim].variable);
  Farthest best;
  if (values.empty()) return best;
  for (const Claim::Side& side : sides_[claim]) {
    for (const std::int32_t position : claims_[claim].positions) {
      const std::size_t at = static_cast<std::size_t>(position) * batch_ + slot;
      const double excess = side.sign * double{values[at]} - side.limit;
      if (excess > best.excess) best = {.excess = excess, .at = at, .sign = side.sign};
    }
  }
  return best;
}

void WitnessSearch::try_breaking(std::size_t index, std::span<const float> input, const Found& found) {
  const Claim& claim = claims_[index];
  const auto to = plain_->input(input_).data<float>();
  for (std::size_t first = 0; first < to.size(); first += elements_)
    std::ranges::copy(input, to.begin() + static_cast<std::ptrdiff_t>(first));
  plain_->run();
  const std::vector<float>& values = watch_->values.at(gradient_.formulas().variable(claim.variable).name);
  double farthest = 0.0, reached = 0.0;
  for (const std::int32_t position : claim.positions) {
    const float value = values[static_cast<std::size_t>(position)];
    if (!std::isfinite(value)) continue;
    if (claim.kind == Claim::Kind::Dead && !(value < claim.firing.rule.fired_below)) continue;
    for (const Claim::Side& side : claim.sides()) {
      const double beyond = side.sign * double{value} - side.limit;
      if (beyond <= farthest) continue;
      farthest = beyond;
      reached = double{value};
    }
  }
  if (farthest > 0.0) found(index, input, reached);
}

/// Looks at what the last run did to every open claim. `fresh`: nothing has climbed from these inputs yet.
void WitnessSearch::check_all(std::size_t slots, bool fresh, const Found& found) {
  for (std::size_t c = 0; c < claims_.size(); ++c) {
    for (std::size_t slot = 0; slot < slots && claims_[c].open(); ++slot) {
      const double excess = farthest(c, slot).excess;
      note(c, excess, slot, fresh);
      if (excess > 0.0) try_breaking(c, in(slot), found);
    }
  }
}

std::span<const float> WitnessSearch::in(std::size_t slot) {
  const auto all = gradient_.input(input_).data<float>();
  return all.subspan(slot * (all.size() / batch_), elements_);
}

/// Keeps the input in a slot where it is among those that came closest to breaking a claim. Of the steps of
/// climbs only the best of all is kept, so that starts stay apart from each other.
void WitnessSearch::note(std::size_t claim, double excess, std::size_t slot, bool fresh) {
  if (claims_[claim].kind != Claim::Kind::Dead) return;
  std::vector<Close>& close = close_[claim];
  const auto place = std::ranges::find_if(close, [&](const Close& each) { return each.excess < excess; });
  const bool best = place == close.begin();
  if (!best && (!fresh || (close.size() == closest_ && place == close.end()))) return;
  if (!(excess > -std::numeric_limits<double>::infinity())) return;
  const auto input = in(slot);
  Close noted{excess, {input.begin(), input.end()}, fresh};
  if (best && !fresh && !close.empty() && !close.front().fresh) {
    close.front() = std::move(noted);
    return;
  }
  close.insert(place, std::move(noted));
  if (close.size() > closest_) close.pop_back();
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
    check_all(slot, true, found);
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
        climbers.push_back({.claim = c, .at = random_input(round % 2 == 0)});
        continue;
      }
      for (std::vector<float>& start : starts_[c]) climbers.push_back({.claim = c, .at = std::move(start)});
      starts_[c].clear();
      for (Close& close : close_[c]) {
        if (std::exchange(close.fresh, false)) climbers.push_back({.claim = c, .at = close.input});
      }
    }
    for (std::size_t first = 0; first < climbers.size() && !stop(); first += batch_) {
      climb_together(std::span(climbers).subspan(first, std::min(batch_, climbers.size() - first)), stop,
                     found);
    }
  }
}

/// Steps along the sign of the gradient with some of the last step's direction kept, which lead to a corner
/// of the domain where the network is linear. A climber that gains nothing over some steps goes back to the
/// best of them and on in steps half as long (after Croce and Hein 2020, Auto-PGD).
void WitnessSearch::climb_together(std::span<Climber> climbers, const Stop& stop, const Found& found) {
  constexpr int kSteps = 48, kPatience = 6;
  constexpr double kFirst = 0.6;
  const int input = gradient_.formulas().inputs()[0];
  for (Climber& climber : climbers) {
    climber.best = climber.at;
    climber.direction.assign(elements_, 0.0);
    climber.length = kFirst;
  }
  for (int step = 0; step <= kSteps && !stop(); ++step) {
    bool any = false;
    for (std::size_t slot = 0; slot < climbers.size(); ++slot) {
      put(slot, climbers[slot].at);
      any = any || open(climbers[slot].claim);
    }
    if (!any) return;
    run();
    check_all(climbers.size(), false, found);
    std::map<int, Gradient::Seed> seeds;
    for (std::size_t slot = 0; slot < climbers.size(); ++slot) {
      Climber& climber = climbers[slot];
      const Farthest reached = farthest(climber.claim, slot);
      if (!open(climber.claim) || reached.sign == 0.0) continue;
      if (reached.excess > climber.reached) {
        climber.reached = reached.excess;
        climber.best = climber.at;
      }
      Gradient::Seed& seed = seeds[claims_[climber.claim].variable];
      seed.variable = claims_[climber.claim].variable;
      seed.values.resize(gradient_.value(seed.variable).size());
      seed.values[reached.at] = reached.sign;
    }
    if (step == kSteps) return;
    std::vector<Gradient::Seed> all;
    for (auto& [variable, seed] : seeds) all.push_back(std::move(seed));
    gradient_.backward(all);
    const bool pause = step > 0 && step % kPatience == 0;
    for (std::size_t slot = 0; slot < climbers.size(); ++slot) {
      Climber& climber = climbers[slot];
      if (pause && !(climber.reached > climber.reached_before)) {
        climber.length *= 0.5;
        climber.at = climber.best;
        std::ranges::fill(climber.direction, 0.0);
        continue;  // its gradient is that of another place
      }
      if (pause) climber.reached_before = climber.reached;
      take_step(climber, slot, gradient_.gradient(input), step);
    }
  }
}

void WitnessSearch::take_step(Climber& climber, std::size_t slot, std::span<const double> slopes, int step) {
  constexpr double kKept = 0.6;  // of the last direction
  std::vector<double> slope(elements_);
  double size = 0.0;
  for (std::size_t i = 0; i * batch_ < slopes.size(); ++i) slope[i % elements_] += slopes[i * batch_ + slot];
  for (std::size_t i = 0; i < elements_; ++i) size += std::abs(slope[i]);
  if (size == 0.0) {
    climber.at = random_input(step % 2 == 0);
    return;
  }
  for (std::size_t i = 0; i < elements_; ++i) {
    climber.direction[i] = kKept * climber.direction[i] + slope[i] / size;
    if (climber.direction[i] == 0.0) continue;
    const auto length = static_cast<float>(climber.length) * domain_.extent(i);
    climber.at[i] = std::clamp(climber.at[i] + (climber.direction[i] > 0.0 ? length : -length),
                               domain_.lower[i], domain_.upper[i]);
  }
}

/// Moves one input element at a time, to an end of its range or (of few elements) by a step that grows
/// shorter, and keeps the move that gains most, until none does (a pattern search). Many moves are tried in
/// one run, and no gradient is needed, so that kinks of the network do not matter.
void WitnessSearch::polish(const Stop& stop, const Found& found) {
  constexpr std::size_t kMostElements = 4096;
  if (elements_ > kMostElements) return;
  for (std::size_t c = 0; c < claims_.size(); ++c) {
    if (!open(c)) continue;
    for (const Close& start : std::vector(close_[c])) {
      if (stop() || !open(c)) break;
      polish_from(c, start, stop, found);
    }
  }
}

void WitnessSearch::polish_from(std::size_t claim, Close best, const Stop& stop, const Found& found) {
  constexpr std::size_t kFewElements = 64;
  constexpr float kFirst = 0.25F, kLast = 1e-3F;
  float length = elements_ <= kFewElements ? kFirst : 0.0F;
  while (open(claim) && !stop()) {
    const std::vector<float> base = best.input;
    bool gained = false;
    std::vector<std::vector<float>> moved;
    const auto flush = [&] {
      if (moved.empty()) return;
      for (std::size_t slot = 0; slot < moved.size(); ++slot) put(slot, moved[slot]);
      run();
      check_all(moved.size(), false, found);
      for (std::size_t slot = 0; slot < moved.size(); ++slot) {
        const double excess = farthest(claim, slot).excess;
        if (!(excess > best.excess)) continue;
        best = {excess, moved[slot], false};
        gained = true;
      }
      moved.clear();
    };
    for (std::size_t i = 0; i < elements_ && open(claim) && !stop(); ++i) {
      const float step = length * domain_.extent(i);
      const std::array<float, 4> values = {domain_.lower[i], domain_.upper[i],
                                           std::max(domain_.lower[i], base[i] - step),
                                           std::min(domain_.upper[i], base[i] + step)};
      for (std::size_t k = 0; k < (length > 0.0F ? 4 : 2); ++k) {
        if (values[k] == base[i]) continue;
        moved.push_back(base);
        moved.back()[i] = values[k];
        if (moved.size() == batch_) flush();
      }
    }
    flush();
    if (gained) continue;
    length *= 0.5F;
    if (length < kLast) return;
  }
}

}  // namespace ember::auditing
