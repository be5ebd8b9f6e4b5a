#include "audit/splitting.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "audit/substitution.hpp"

namespace ember::auditing {

namespace {

/// A claim whose parts outgrow this is given up: splitting does not come to an end on it.
constexpr std::size_t kMostParts = 400'000;

bool smaller(const auto& a, const auto& b) { return a.excess < b.excess; }

/// Halfway between two floats, or one of them when there is none between.
float middle(float lower, float upper) { return lower + (upper - lower) * 0.5F; }

}  // namespace

bool Splitter::applies(const Formulas& formulas, const Domain& domain) {
  int varying = 0;
  for (std::size_t i = 0; i < domain.size(); ++i) varying += domain.extent(i) > 0.0F ? 1 : 0;
  return formulas.inputs().size() == 1 && varying > 0 && varying <= kMostInputs &&
         formulas.variable(formulas.inputs()[0]).size() == static_cast<std::int64_t>(domain.size());
}

Splitter::Splitter(const Formulas& formulas, const Domain& domain, const AllBounds& bounds,
                   std::span<const Claim> claims)
    : formulas_(formulas), domain_(domain), bounds_(bounds), claims_(claims), states_(claims.size()) {}

bool Splitter::workable(std::size_t claim, Claim::Kind kind) const {
  return claims_[claim].kind == kind && claims_[claim].open() && !states_[claim].given_up;
}

void Splitter::begin(std::size_t claim) {
  State& state = states_[claim];
  state.started = true;
  std::vector<bool> needed(formulas_.variables().size());
  needed[static_cast<std::size_t>(claims_[claim].variable)] = true;
  for (int f = formulas_.variable(claims_[claim].variable).formula; f >= 0; --f) {
    const Formula& formula = *formulas_.all()[static_cast<std::size_t>(f)];
    if (!needed[static_cast<std::size_t>(formula.output)]) continue;
    for (const int input : formula.inputs) needed[static_cast<std::size_t>(input)] = true;
    state.formulas.push_back(f);
  }
  std::ranges::reverse(state.formulas);
  // Every layer is substituted through all layers before it.
  double before = 0.0;
  for (const int f : state.formulas) {
    const Formula& formula = *formulas_.all()[static_cast<std::size_t>(f)];
    const double terms = formula.linear() == nullptr ? 1.0 : formula.linear()->terms_per_row();
    const auto size = static_cast<double>(formulas_.variable(formula.output).size());
    state.work += terms * size;
    if (terms > 4.0) state.work += size * before;
    before += terms * size;
  }
  Part whole{.lower = domain_.lower, .upper = domain_.upper, .excess = 0.0, .corner = {}};
  bound(claim, whole);
  if (whole.excess > 0.0) state.heap.push_back(std::move(whole));
}

/// Bounds a claim in one part of the domain.
void Splitter::bound(std::size_t index, Part& part) const {
  const Claim& claim = claims_[index];
  const State& state = states_[index];
  SerialParallel serial;
  AllBounds bounds(formulas_.variables().size());
  const auto take = [&](int variable) {
    bounds[static_cast<std::size_t>(variable)] = bounds_[static_cast<std::size_t>(variable)];
  };
  Bounds& input = bounds[static_cast<std::size_t>(formulas_.inputs()[0])];
  input.lower.assign(part.lower.begin(), part.lower.end());
  input.upper.assign(part.upper.begin(), part.upper.end());
  int sums = 0;
  bool straight = true;  // nothing but sums so far, of which intervals are exact up to the first
  for (const int f : state.formulas) {
    const Formula& formula = *formulas_.all()[static_cast<std::size_t>(f)];
    take(formula.output);
    propagate(formulas_, formula, bounds, serial);
    straight = straight && formula.linear() != nullptr;
    sums += formula.linear() != nullptr && formula.linear()->terms_per_row() > 1.0 ? 1 : 0;
    if (formula.output == claim.variable || (straight && sums <= 1)) continue;
    const std::vector<std::int32_t> loose = loose_elements(formulas_, bounds, formula.output);
    if (!loose.empty()) tighten(formulas_, bounds, formula.output, loose, serial, {});
  }
  const Bounds& x = bounds[static_cast<std::size_t>(claim.variable)];
  part.excess = 0.0;
  std::vector<double> slopes(domain_.size());
  for (const Claim::Side& side : claim.sides()) {
    const auto most = [&](std::int32_t i) {
      const auto at = static_cast<std::size_t>(i);
      return side.sign > 0.0 ? x.upper[at] : -x.lower[at];
    };
    std::vector<std::int32_t> open;
    for (const std::int32_t i : claim.positions) {
      if (!(most(i) <= side.limit)) open.push_back(i);
    }
    const std::vector<LinearBound> linear =
        substitute(formulas_, bounds, claim.variable, open, side.sign, true);
    for (std::size_t k = 0; k < open.size(); ++k) {
      const double upper = std::min(linear[k].upper, most(open[k]));
      // The difference of two doubles is 0 only where they are equal.
      const double excess = upper <= side.limit ? 0.0 : upper - side.limit;
      if (excess <= part.excess) continue;
      part.excess = excess;
      slopes = linear[k].coefficients;
    }
  }
  if (part.excess <= 0.0) return;
  part.corner.resize(domain_.size());
  double most = -1.0;
  for (std::size_t i = 0; i < domain_.size(); ++i) {
    part.corner[i] = slopes[i] > 0.0 ? part.upper[i] : part.lower[i];
    const float half = middle(part.lower[i], part.upper[i]);
    if (!(half > part.lower[i] && half < part.upper[i])) continue;
    // By influence; of inputs without any, by width.
    const double width = double{part.upper[i]} - double{part.lower[i]};
    const double score = std::abs(slopes[i]) * width + 1e-12 * width / double{domain_.extent(i)};
    if (score > most) {
      most = score;
      part.cut = static_cast<int>(i);
    }
  }
}

void Splitter::work_on(std::size_t index, const std::function<bool()>& stop) {
  State& state = states_[index];
  if (!state.started) begin(index);
  const double work = std::exchange(state.budget, 2.0 * state.budget);
  for (double done = 0.0; done < work && !state.heap.empty() && !stop(); done += 2.0 * state.work) {
    std::ranges::pop_heap(state.heap, smaller<Part, Part>);
    const Part part = std::move(state.heap.back());
    state.heap.pop_back();
    if (part.cut < 0 || state.heap.size() > kMostParts) {
      state.given_up = true;
      return;
    }
    const auto at = static_cast<std::size_t>(part.cut);
    for (const bool upper : {false, true}) {
      Part half{.lower = part.lower, .upper = part.upper, .excess = 0.0, .corner = {}};
      (upper ? half.lower : half.upper)[at] = middle(part.lower[at], part.upper[at]);
      bound(index, half);
      if (half.excess <= 0.0) continue;
      state.heap.push_back(std::move(half));
      std::ranges::push_heap(state.heap, smaller<Part, Part>);
    }
  }
}

bool Splitter::advance(Claim::Kind kind, Parallel& parallel, const std::function<bool()>& stop,
                       const std::function<void(std::size_t)>& proved,
                       const std::function<void(std::size_t, std::vector<float>)>& suggest) {
  std::vector<std::size_t> open;
  for (std::size_t c = 0; c < claims_.size(); ++c) {
    if (workable(c, kind)) open.push_back(c);
  }
  parallel.for_each(std::ssize(open), std::int64_t{1} << 40, [&](std::int64_t i, int /*worker*/) {
    if (!stop()) work_on(open[static_cast<std::size_t>(i)], stop);
  });
  for (const std::size_t c : open) {
    const State& state = states_[c];
    // Of a claim given up, a part that cannot be cut is no longer in the heap.
    if (!state.started || state.given_up) continue;
    if (state.heap.empty()) proved(c);
    else if (!state.heap.front().corner.empty()) suggest(c, state.heap.front().corner);
  }
  return std::ranges::any_of(open, [&](std::size_t c) { return workable(c, kind); });
}

}  // namespace ember::auditing
