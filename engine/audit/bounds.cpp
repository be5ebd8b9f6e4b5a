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
constexpr std::size_t kRows = ElementSet::kBits;  ///< outputs that one task bounds
constexpr double kFewTerms = 16.0;                ///< of a sum that is not long

/// 0 · ∞ is 0: what is multiplied by an exact zero does not count (NaN is tracked apart).
double times(double a, double b) { return a == 0.0 || b == 0.0 ? 0.0 : a * b; }

std::vector<const Bounds*> inputs_of(const Formula& formula, const AllBounds& bounds) {
  std::vector<const Bounds*> inputs;
  for (const int input : formula.inputs) inputs.push_back(&bounds[static_cast<std::size_t>(input)]);
  return inputs;
}

bool finite(const Bounds& bounds) {
  const auto is = [](double v) { return std::isfinite(v); };
  const bool all = bounds.kept == nullptr || bounds.kept->complete();
  return (all || (is(bounds.rest.lower) && is(bounds.rest.upper))) && std::ranges::all_of(bounds.lower, is) &&
         std::ranges::all_of(bounds.upper, is);
}

/// Calls f with the elements that are to be bounded, all of the variable's without a list.
template <class F>
void for_each_wanted(const ElementSet* wanted, std::size_t size, F&& f) {
  if (wanted != nullptr) return wanted->for_each(f);
  for (std::size_t i = 0; i < size; ++i) f(i);
}

/// max(|lower|, |upper|) of all elements of a variable.
std::vector<double> magnitudes_of(const Bounds& x, std::size_t size) {
  std::vector<double> magnitudes(size, std::max(std::abs(x.rest.lower), std::abs(x.rest.upper)));
  for_each_wanted(x.kept, size, [&](std::size_t i) { magnitudes[i] = x.magnitude(i); });
  return magnitudes;
}

/// What the engine may err by beyond the roundings of a direct sum, by element; empty: nothing.
std::vector<double> added_error(const Formulas& formulas, const LinearFormula& formula,
                                const std::vector<const Bounds*>& in) {
  std::vector<double> error;
  if (!formula.adds_error()) return error;
  std::vector<std::vector<double>> magnitudes;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const auto size = static_cast<std::size_t>(formulas.variable(formula.inputs[i]).size());
    magnitudes.push_back(magnitudes_of(*in[i], size));
  }
  const std::vector<Magnitudes> given(magnitudes.begin(), magnitudes.end());
  error.assign(static_cast<std::size_t>(formulas.variable(formula.output).size()), 0.0);
  formula.add_error(given, error);
  return error;
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
    const std::size_t i = x.slot(static_cast<std::size_t>(term.index));
    const bool rising = term.weight >= 0.0;
    const double a = times(term.weight, rising ? x.lower[i] : x.upper[i]);
    const double b = times(term.weight, rising ? x.upper[i] : x.lower[i]);
    low += a;
    high += b;
    lowest_term = std::min(lowest_term, a);
    highest_term = std::max(highest_term, b);
    magnitude += std::max(std::abs(a), std::abs(b));
    weights += std::abs(term.weight);
    inputs += std::max(std::abs(x.lower[i]), std::abs(x.upper[i]));
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

void bound_linear(const Formulas& formulas, const LinearFormula& formula,
                  const std::vector<const Bounds*>& in, Bounds& out, Parallel& parallel,
                  const ElementSet* wanted) {
  const auto size = static_cast<std::size_t>(formulas.variable(formula.output).size());
  if (!formula.exact) out.error.assign(out.size(), 0.0);
  const std::vector<double> added = added_error(formulas, formula, in);
  const auto nanoseconds =
      static_cast<std::int64_t>(3.0 * formula.terms_per_row() * static_cast<double>(size));
  const auto tasks = static_cast<std::int64_t>((size + kRows - 1) / kRows);
  parallel.for_each(tasks, nanoseconds, [&](std::int64_t task, int /*worker*/) {
    LinearRow row;
    const auto bound_one = [&](std::size_t o) {
      formula.row(static_cast<std::int64_t>(o), row);
      const RowBound bound = bound_row(formula, row, in, formula.exact || added.empty() ? 0.0 : added[o]);
      out.narrow(o, bound.interval);
      if (!formula.exact) out.error[out.slot(o)] = bound.error;
    };
    const std::size_t begin = static_cast<std::size_t>(task) * kRows;
    if (wanted != nullptr) return wanted->for_each(begin, begin + kRows, bound_one);
    for (std::size_t o = begin; o < std::min(size, begin + kRows); ++o) bound_one(o);
  });
}

void bound_pointwise(const PointwiseFormula& formula, const Bounds& in, Bounds& out,
                     const ElementSet* wanted) {
  for_each_wanted(wanted, out.size(), [&](std::size_t i) {
    Interval y = formula.hull(in.at(i), static_cast<std::int64_t>(i));
    if (y.upper > kOverflow) y.upper = kInfinity;
    if (y.lower < -kOverflow) y.lower = -kInfinity;
    out.narrow(i, y);
  });
}

void bound_maximum(const MaximumFormula& formula, const std::vector<const Bounds*>& in, bool may_be_nan,
                   Bounds& out, const ElementSet* wanted) {
  std::vector<Element> elements;
  for_each_wanted(wanted, out.size(), [&](std::size_t o) {
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
    if (elements.empty()) return;
    // A NaN may be passed over: then any other element may be the result.
    out.narrow(o, formula.smallest ? Interval{low_min, may_be_nan ? high_max : high_min}
                                   : Interval{may_be_nan ? low_min : low_max, high_max});
  });
}

void bound_product(const ProductFormula& formula, const std::vector<const Bounds*>& in, Bounds& out,
                   const ElementSet* wanted) {
  std::vector<std::pair<Element, Element>> pairs;
  for_each_wanted(wanted, out.size(), [&](std::size_t o) {
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
    out.narrow(o, y);
  });
}

/// All elements, whichever are kept: their inputs are kept whole. False when a result may be NaN.
bool bound_opaque(const OpaqueFormula& formula, const std::vector<const Bounds*>& in, bool may_be_nan,
                  std::size_t size, Bounds& out) {
  std::vector<Interval> y(size, formula.range);
  std::vector<Ends> ends;
  for (const Bounds* x : in) ends.push_back({x->lower, x->upper});
  const bool bounded = !may_be_nan && formula.bound(ends, y);
  for_each_wanted(out.kept, size, [&](std::size_t i) { out.narrow(i, y[i]); });
  Interval rest = {kInfinity, -kInfinity};
  for (const Interval& each : y) {
    rest.lower = std::min(rest.lower, each.lower);
    rest.upper = std::max(rest.upper, each.upper);
  }
  if (size > 0) out.rest = {std::max(out.rest.lower, rest.lower), std::min(out.rest.upper, rest.upper)};
  return bounded;
}

/// A variable's bounds before anything is known: of all its elements, or those of `kept`.
void open(const Formulas& formulas, int variable, const ElementSet* kept, Bounds& bounds) {
  const Variable& v = formulas.variable(variable);
  const std::size_t size = kept != nullptr ? kept->count() : static_cast<std::size_t>(v.size());
  if (kept == nullptr && bounds.size() == size && v.known) return;
  bounds.kept = kept;
  bounds.rest = v.range;
  bounds.lower.assign(size, v.range.lower);
  bounds.upper.assign(size, v.range.upper);
}

/// `wanted`: the elements to bound, `kept`: to keep bounds of; null: all.
void bound_any(const Formulas& formulas, const Formula& formula, AllBounds& bounds, Parallel& parallel,
               const ElementSet* wanted, const ElementSet* kept) {
  Bounds& out = bounds[static_cast<std::size_t>(formula.output)];
  open(formulas, formula.output, kept, out);
  const std::vector<const Bounds*> in = inputs_of(formula, bounds);
  out.may_be_nan = std::ranges::any_of(in, [](const Bounds* x) { return x->may_be_nan || !finite(*x); });
  const Variable& variable = formulas.variable(formula.output);
  if (!variable.known) return;
  if (wanted != nullptr && wanted->empty()) {
    out.may_be_nan = true;
    return;
  }
  if (const LinearFormula* linear = formula.linear()) {
    bound_linear(formulas, *linear, in, out, parallel, wanted);
  } else if (const PointwiseFormula* pointwise = formula.pointwise()) {
    bound_pointwise(*pointwise, *in[0], out, wanted);
  } else if (const MaximumFormula* maximum = formula.maximum()) {
    bound_maximum(*maximum, in, out.may_be_nan, out, wanted);
  } else if (const ProductFormula* product = formula.product()) {
    bound_product(*product, in, out, wanted);
  } else if (const OpaqueFormula* opaque = formula.opaque()) {
    out.may_be_nan =
        !bound_opaque(*opaque, in, out.may_be_nan, static_cast<std::size_t>(variable.size()), out);
  }
  out.may_be_nan = out.may_be_nan || !finite(out);
}

}  // namespace

double Bounds::magnitude(std::size_t i) const {
  const Interval x = at(i);
  return std::max(std::abs(x.lower), std::abs(x.upper));
}

void Bounds::narrow(std::size_t i, Interval x) {
  const std::size_t s = slot(i);
  lower[s] = std::max(lower[s], x.lower);
  upper[s] = std::min(upper[s], x.upper);
}

void propagate(const Formulas& formulas, const Formula& formula, AllBounds& bounds, Parallel& parallel) {
  bound_any(formulas, formula, bounds, parallel, nullptr, nullptr);
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

AllBounds propagate_signs(const Formulas& formulas, const ElementSets& wanted, const ElementSets& read,
                          Parallel& parallel) {
  AllBounds bounds(formulas.variables().size());
  for (const int input : formulas.inputs()) {
    const auto at = static_cast<std::size_t>(input);
    open(formulas, input, &read[at], bounds[at]);
  }
  for (const auto& formula : formulas.all()) {
    const auto output = static_cast<std::size_t>(formula->output);
    bound_any(formulas, *formula, bounds, parallel, is_long_sum(*formula) ? &wanted[output] : &read[output],
              &read[output]);
  }
  return bounds;
}

}  // namespace ember::auditing
