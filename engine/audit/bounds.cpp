#include "audit/bounds.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "audit/rounding.hpp"

namespace ember::auditing {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kRows = 64;  ///< outputs that one task bounds
constexpr double kFewTerms = 16.0;  ///< of a sum that is not long

/// 0 · ∞ is 0: what is multiplied by an exact zero does not count (NaN is tracked apart).
double times(double a, double b) { return a == 0.0 || b == 0.0 ? 0.0 : a * b; }

std::vector<const Bounds*> inputs_of(const Formula& formula, const AllBounds& bounds) {
  std::vector<const Bounds*> inputs;
  for (const int input : formula.inputs) inputs.push_back(&bounds[static_cast<std::size_t>(input)]);
  return inputs;
}

bool finite(const Bounds& bounds) {
  const auto is = [](double v) { return std::isfinite(v); };
  return std::ranges::all_of(bounds.lower, is) && std::ranges::all_of(bounds.upper, is);
}

struct RowBound {
  Interval interval;
  double error = 0.0;
};

/// The interval of a sum, with what rounding may add.
RowBound bound_row(const LinearFormula& formula, const LinearRow& row, const std::vector<const Bounds*>& in,
                   double extra) {
  double low = row.constant, high = row.constant, magnitude = row.magnitude;
  double weights = 0.0, inputs = 0.0;
  double lowest_term = std::min(0.0, row.constant), highest_term = std::max(0.0, row.constant);
  for (const Term& term : row.terms) {
    const Bounds& x = *in[static_cast<std::size_t>(term.input)];
    const auto i = static_cast<std::size_t>(term.index);
    const bool rising = term.weight >= 0.0;
    const double a = times(term.weight, rising ? x.lower[i] : x.upper[i]);
    const double b = times(term.weight, rising ? x.upper[i] : x.lower[i]);
    low += a;
    high += b;
    lowest_term = std::min(lowest_term, a);
    highest_term = std::max(highest_term, b);
    magnitude += std::max(std::abs(a), std::abs(b));
    weights += std::abs(term.weight);
    inputs += x.magnitude(i);
  }
  if (formula.exact) return {{low, high}, 0.0};
  const double error =
      sum_error(static_cast<double>(row.terms.size()), formula.roundings, magnitude, weights, inputs) + extra;
  RowBound bound{{low - error, high + error}, error};
  if (!(magnitude + error < kOverflow)) {
    // A partial sum may be infinite, and a sum of infinities of both signs NaN.
    bound.interval = {-kInfinity, kInfinity};
    bound.error = kInfinity;
  }
  // Rounding keeps the sign of a sum whose terms have one, infinite or not.
  if (formula.direct && row.magnitude == std::abs(row.constant)) {
    if (highest_term <= 0.0) bound.interval.upper = std::min(bound.interval.upper, 0.0);
    if (lowest_term >= 0.0) bound.interval.lower = std::max(bound.interval.lower, 0.0);
  }
  return bound;
}

void bound_linear(const LinearFormula& formula, const std::vector<const Bounds*>& in, Bounds& out,
                  Parallel& parallel, const std::vector<bool>* wanted) {
  const auto size = static_cast<std::int64_t>(out.size());
  if (!formula.exact) out.error.assign(out.size(), 0.0);
  if (!formula.direct) {
    std::vector<std::vector<double>> magnitudes;
    std::vector<Magnitudes> given;
    for (const Bounds* x : in) {
      magnitudes.emplace_back(x->size());
      for (std::size_t i = 0; i < x->size(); ++i) magnitudes.back()[i] = x->magnitude(i);
    }
    for (const std::vector<double>& m : magnitudes) given.push_back({m});
    formula.add_error(given, out.error);
  }
  const auto nanoseconds =
      static_cast<std::int64_t>(3.0 * formula.terms_per_row() * static_cast<double>(size));
  parallel.for_each((size + kRows - 1) / kRows, nanoseconds, [&](std::int64_t task, int /*worker*/) {
    LinearRow row;
    for (std::int64_t o = task * kRows; o < std::min(size, (task + 1) * kRows); ++o) {
      const auto at = static_cast<std::size_t>(o);
      if (wanted != nullptr && !(*wanted)[at]) continue;
      formula.row(o, row);
      const RowBound bound = bound_row(formula, row, in, formula.exact ? 0.0 : out.error[at]);
      out.set(at,
              {std::max(out.lower[at], bound.interval.lower), std::min(out.upper[at], bound.interval.upper)});
      if (!formula.exact) out.error[at] = bound.error;
    }
  });
}

/// Whether an element is to be bounded: all are without a list.
bool is_in(const std::vector<bool>* wanted, std::size_t i) { return wanted == nullptr || (*wanted)[i]; }

void bound_pointwise(const PointwiseFormula& formula, const Bounds& in, Bounds& out,
                     const std::vector<bool>* wanted) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!is_in(wanted, i)) continue;
    Interval y = formula.hull(in.at(i), static_cast<std::int64_t>(i));
    if (y.upper > kOverflow) y.upper = kInfinity;
    if (y.lower < -kOverflow) y.lower = -kInfinity;
    out.set(i, {std::max(out.lower[i], y.lower), std::min(out.upper[i], y.upper)});
  }
}

void bound_maximum(const MaximumFormula& formula, const std::vector<const Bounds*>& in, bool may_be_nan,
                   Bounds& out, const std::vector<bool>* wanted) {
  std::vector<Element> elements;
  for (std::size_t o = 0; o < out.size(); ++o) {
    if (!is_in(wanted, o)) continue;
    formula.row(static_cast<std::int64_t>(o), elements);
    double low_min = kInfinity, low_max = -kInfinity, high_min = kInfinity, high_max = -kInfinity;
    for (const Element& element : elements) {
      const Interval x =
          in[static_cast<std::size_t>(element.input)]->at(static_cast<std::size_t>(element.index));
      low_min = std::min(low_min, x.lower);
      low_max = std::max(low_max, x.lower);
      high_min = std::min(high_min, x.upper);
      high_max = std::max(high_max, x.upper);
    }
    if (elements.empty()) continue;
    // A NaN may be passed over: then any other element may be the result.
    Interval y = formula.smallest ? Interval{low_min, may_be_nan ? high_max : high_min}
                                  : Interval{may_be_nan ? low_min : low_max, high_max};
    out.set(o, {std::max(out.lower[o], y.lower), std::min(out.upper[o], y.upper)});
  }
}

void bound_product(const ProductFormula& formula, const std::vector<const Bounds*>& in, Bounds& out,
                   const std::vector<bool>* wanted) {
  std::vector<std::pair<Element, Element>> pairs;
  for (std::size_t o = 0; o < out.size(); ++o) {
    if (!is_in(wanted, o)) continue;
    formula.row(static_cast<std::int64_t>(o), pairs);
    double low = 0.0, high = 0.0, magnitude = 0.0, inputs = 0.0;
    for (const auto& [left, right] : pairs) {
      const Interval a = in[static_cast<std::size_t>(left.input)]->at(static_cast<std::size_t>(left.index));
      const Interval b = in[static_cast<std::size_t>(right.input)]->at(static_cast<std::size_t>(right.index));
      const auto [least, most] = std::minmax({times(a.lower, b.lower), times(a.lower, b.upper),
                                              times(a.upper, b.lower), times(a.upper, b.upper)});
      const bool square = left.input == right.input && left.index == right.index;
      low += square ? std::max(0.0, least) : least;
      high += most;
      magnitude += std::max(std::abs(least), std::abs(most));
      inputs += std::max({std::abs(a.lower), std::abs(a.upper), std::abs(b.lower), std::abs(b.upper)});
    }
    const double error = sum_error(static_cast<double>(pairs.size()), 4, magnitude, inputs, inputs);
    Interval y = {low - error, high + error};
    if (!(magnitude + error < kOverflow)) y = {};
    out.set(o, {std::max(out.lower[o], y.lower), std::min(out.upper[o], y.upper)});
  }
}

/// False when a result may be NaN.
bool bound_opaque(const OpaqueFormula& formula, const std::vector<const Bounds*>& in, bool may_be_nan,
                  Bounds& out) {
  std::vector<Interval> y(out.size(), formula.range);
  std::vector<Ends> ends;
  for (const Bounds* x : in) ends.push_back({x->lower, x->upper});
  const bool bounded = !may_be_nan && formula.bound(ends, y);
  for (std::size_t i = 0; i < out.size(); ++i)
    out.set(i, {std::max(out.lower[i], y[i].lower), std::min(out.upper[i], y[i].upper)});
  return bounded;
}

/// The output's bounds before anything is known.
void open(const Formulas& formulas, int variable, Bounds& bounds) {
  const Variable& v = formulas.variable(variable);
  const auto size = static_cast<std::size_t>(v.size());
  if (bounds.size() == size && v.known) return;
  bounds.lower.assign(size, v.range.lower);
  bounds.upper.assign(size, v.range.upper);
}

void bound_any(const Formulas& formulas, const Formula& formula, AllBounds& bounds, Parallel& parallel,
               const std::vector<bool>* wanted) {
  Bounds& out = bounds[static_cast<std::size_t>(formula.output)];
  open(formulas, formula.output, out);
  const std::vector<const Bounds*> in = inputs_of(formula, bounds);
  out.may_be_nan = std::ranges::any_of(in, [](const Bounds* x) { return x->may_be_nan || !finite(*x); });
  if (!formulas.variable(formula.output).known) return;
  if (wanted != nullptr && wanted->empty()) {
    out.may_be_nan = true;
    return;
  }
  if (const LinearFormula* linear = formula.linear()) {
    bound_linear(*linear, in, out, parallel, wanted);
  } else if (const PointwiseFormula* pointwise = formula.pointwise()) {
    bound_pointwise(*pointwise, *in[0], out, wanted);
  } else if (const MaximumFormula* maximum = formula.maximum()) {
    bound_maximum(*maximum, in, out.may_be_nan, out, wanted);
  } else if (const ProductFormula* product = formula.product()) {
    bound_product(*product, in, out, wanted);
  } else if (const OpaqueFormula* opaque = formula.opaque()) {
    out.may_be_nan = !bound_opaque(*opaque, in, out.may_be_nan, out);
  }
  out.may_be_nan = out.may_be_nan || !finite(out);
}

}  // namespace

double Bounds::magnitude(std::size_t i) const { return std::max(std::abs(lower[i]), std::abs(upper[i])); }

void propagate(const Formulas& formulas, const Formula& formula, AllBounds& bounds, Parallel& parallel) {
  bound_any(formulas, formula, bounds, parallel, nullptr);
}

AllBounds propagate(const Formulas& formulas, const InputBounds& inputs, Parallel& parallel,
                    const std::function<bool()>& stop) {
  AllBounds bounds(formulas.variables().size());
  for (std::size_t i = 0; i < inputs.size(); ++i)
    bounds[static_cast<std::size_t>(formulas.inputs()[i])] = inputs[i];
  for (const auto& formula : formulas.all()) {
    if (stop && stop()) break;
    propagate(formulas, *formula, bounds, parallel);
  }
  return bounds;
}

bool is_long_sum(const Formula& formula) {
  return formula.linear() != nullptr && formula.linear()->terms_per_row() > kFewTerms;
}

AllBounds propagate_signs(const Formulas& formulas, const ElementLists& wanted, const ElementLists& read,
                          Parallel& parallel) {
  AllBounds bounds(formulas.variables().size());
  for (const int input : formulas.inputs()) open(formulas, input, bounds[static_cast<std::size_t>(input)]);
  for (const auto& formula : formulas.all()) {
    const auto output = static_cast<std::size_t>(formula->output);
    bound_any(formulas, *formula, bounds, parallel, is_long_sum(*formula) ? &wanted[output] : &read[output]);
  }
  return bounds;
}

}  // namespace ember::auditing
