#include "audit/substitution.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <utility>

namespace ember::auditing {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// Rows that are substituted together.
constexpr std::size_t kRows = 16;
/// The share of an element's magnitude that covers the rounding of the substitution itself: sums of up to
/// 10^5 terms in double.
constexpr double kOwnRounding = 0x1p-34;
/// By how much a formula's error is enlarged, which covers the rounding of products of coefficients: in
/// double, these err by less than a thousandth of what the engine's float products do.
constexpr double kErrorMargin = 1.01;

/// Coefficients of some rows at the elements of one variable: element i, row r at [i · rows + r].
struct Coefficients {
  std::vector<double> values;
  std::vector<std::uint8_t> active;

  [[nodiscard]] bool empty() const noexcept { return active.empty(); }
  void open(std::size_t size, std::size_t rows) {
    if (!active.empty()) return;
    values.assign(size * rows, 0.0);
    active.assign(size, 0);
  }
  double* at(std::size_t i, std::size_t rows) {
    active[i] = 1;
    return values.data() + i * rows;
  }
};

class Pass {
 public:
  Pass(const Formulas& formulas, const AllBounds& bounds, int variable,
       std::span<const std::int32_t> elements, double sign)
      : formulas_(formulas),
        bounds_(bounds),
        rows_(elements.size()),
        constants_(elements.size(), 0.0),
        coefficients_(formulas.variables().size()) {
    Coefficients& start = coefficients_[static_cast<std::size_t>(variable)];
    start.open(static_cast<std::size_t>(formulas.variable(variable).size()), rows_);
    for (std::size_t r = 0; r < rows_; ++r) start.at(static_cast<std::size_t>(elements[r]), rows_)[r] = sign;
    for (int f = formulas.variable(variable).formula; f >= 0; --f) {
      const Formula& formula = *formulas.all()[static_cast<std::size_t>(f)];
      Coefficients& from = coefficients_[static_cast<std::size_t>(formula.output)];
      if (from.empty()) continue;
      step(formula, from);
      from = {};
    }
    for (const int input : formulas.inputs()) {
      Coefficients& from = coefficients_[static_cast<std::size_t>(input)];
      for (std::size_t i = 0; i < from.active.size(); ++i) {
        if (from.active[i] != 0) conclude(input, i, from.at(i, rows_));
      }
    }
  }

  std::vector<LinearBound> results(bool with_coefficients) {
    std::vector<LinearBound> results(rows_);
    for (std::size_t r = 0; r < rows_; ++r)
      results[r].upper = std::isnan(constants_[r]) ? kInfinity : constants_[r];
    if (!with_coefficients || formulas_.inputs().size() != 1) return results;
    Coefficients& input = coefficients_[static_cast<std::size_t>(formulas_.inputs()[0])];
    for (std::size_t r = 0; r < rows_; ++r) {
      results[r].coefficients.assign(
          static_cast<std::size_t>(formulas_.variable(formulas_.inputs()[0]).size()), 0.0);
      for (std::size_t i = 0; i < input.active.size(); ++i)
        results[r].coefficients[i] = input.values[i * rows_ + r];
    }
    return results;
  }

 private:
  /// Puts in the largest that coefficient · element can be, and ends there.
  void conclude(int variable, std::size_t i, const double* a) {
    const Bounds& x = bounds_[static_cast<std::size_t>(variable)];
    for (std::size_t r = 0; r < rows_; ++r) {
      if (a[r] != 0.0) constants_[r] += a[r] > 0.0 ? a[r] * x.upper[i] : a[r] * x.lower[i];
    }
    pay(x, i, a, 0.0);
  }

  /// Adds what the engine's rounding (`error`), and this computation's own, may come to.
  void pay(const Bounds& x, std::size_t i, const double* a, double error) {
    const auto finite = [](double v) { return std::isfinite(v) ? std::abs(v) : 0.0; };
    const double magnitude = std::max(finite(x.lower[i]), finite(x.upper[i]));
    const double slack = kErrorMargin * error + kOwnRounding * magnitude;
    for (std::size_t r = 0; r < rows_; ++r) constants_[r] += std::abs(a[r]) * slack;
  }

  Coefficients& target(const Formula& formula, std::int32_t input) {
    const int variable = formula.inputs[static_cast<std::size_t>(input)];
    Coefficients& to = coefficients_[static_cast<std::size_t>(variable)];
    to.open(static_cast<std::size_t>(formulas_.variable(variable).size()), rows_);
    return to;
  }

  void step(const Formula& formula, Coefficients& from) {
    const Bounds& out = bounds_[static_cast<std::size_t>(formula.output)];
    for (std::size_t o = 0; o < from.active.size(); ++o) {
      if (from.active[o] == 0) continue;
      const double* a = from.at(o, rows_);
      bool substituted = std::isfinite(out.magnitude(o));
      if (substituted) {
        if (formula.linear() != nullptr) linear(*formula.linear(), out, o, a);
        else if (formula.pointwise() != nullptr) substituted = pointwise(*formula.pointwise(), out, o, a);
        else if (formula.maximum() != nullptr) substituted = maximum(*formula.maximum(), out, o, a);
        else substituted = false;
      }
      if (!substituted) conclude(formula.output, o, a);
    }
  }

  void linear(const LinearFormula& formula, const Bounds& out, std::size_t o, const double* a) {
    formula.row(static_cast<std::int64_t>(o), row_);
    for (std::size_t r = 0; r < rows_; ++r) constants_[r] += a[r] * row_.constant;
    pay(out, o, a, out.error.empty() ? 0.0 : out.error[o]);
    Coefficients* to = nullptr;
    std::int32_t input = -1;
    for (const Term& term : row_.terms) {
      if (term.input != input) {
        input = term.input;
        to = &target(formula, input);
      }
      double* x = to->at(static_cast<std::size_t>(term.index), rows_);
      for (std::size_t r = 0; r < rows_; ++r) x[r] += term.weight * a[r];
    }
  }

  bool pointwise(const PointwiseFormula& formula, const Bounds& out, std::size_t o, const double* a) {
    const Bounds& in = bounds_[static_cast<std::size_t>(formula.inputs[0])];
    const Interval x = in.at(o);
    if (!std::isfinite(x.lower) || !std::isfinite(x.upper) || in.may_be_nan) return false;
    const Lines lines = formula.lines(x, static_cast<std::int64_t>(o));
    double* to = target(formula, 0).at(o, rows_);
    const double wide = std::max({std::abs(lines.lower_offset), std::abs(lines.upper_offset),
                                  std::abs(lines.lower_slope) * in.magnitude(o),
                                  std::abs(lines.upper_slope) * in.magnitude(o)});
    for (std::size_t r = 0; r < rows_; ++r) {
      if (a[r] == 0.0) continue;
      const bool up = a[r] > 0.0;
      to[r] += a[r] * (up ? lines.upper_slope : lines.lower_slope);
      constants_[r] +=
          a[r] * (up ? lines.upper_offset : lines.lower_offset) + std::abs(a[r]) * kOwnRounding * wide;
    }
    pay(out, o, a, 0.0);
    return true;
  }

  /// One input that is always the largest is the result.
  bool maximum(const MaximumFormula& formula, const Bounds& out, std::size_t o, const double* a) {
    formula.row(static_cast<std::int64_t>(o), elements_);
    const auto interval = [&](const Element& e) {
      const Bounds& x = bounds_[static_cast<std::size_t>(formula.inputs[static_cast<std::size_t>(e.input)])];
      const Interval i = x.at(static_cast<std::size_t>(e.index));
      return formula.smallest ? Interval{-i.upper, -i.lower} : i;
    };
    const auto best =
        std::ranges::max_element(elements_, {}, [&](const Element& e) { return interval(e).lower; });
    if (best == elements_.end()) return false;
    const double least = interval(*best).lower;
    const bool dominates = std::ranges::all_of(elements_, [&](const Element& e) {
      return (e.input == best->input && e.index == best->index) || interval(e).upper <= least;
    });
    if (!dominates || out.may_be_nan) return false;
    double* to = target(formula, best->input).at(static_cast<std::size_t>(best->index), rows_);
    for (std::size_t r = 0; r < rows_; ++r) to[r] += a[r];
    pay(out, o, a, 0.0);
    return true;
  }

  const Formulas& formulas_;
  const AllBounds& bounds_;
  std::size_t rows_;
  std::vector<double> constants_;
  std::vector<Coefficients> coefficients_;
  LinearRow row_;
  std::vector<Element> elements_;
};

}  // namespace

std::vector<LinearBound> substitute(const Formulas& formulas, const AllBounds& bounds, int variable,
                                    std::span<const std::int32_t> elements, double sign,
                                    bool with_coefficients) {
  std::vector<LinearBound> results;
  for (std::size_t first = 0; first < elements.size(); first += kRows) {
    const auto some = elements.subspan(first, std::min(kRows, elements.size() - first));
    auto part = Pass(formulas, bounds, variable, some, sign).results(with_coefficients);
    std::ranges::move(part, std::back_inserter(results));
  }
  return results;
}

std::vector<std::int32_t> loose_elements(const Formulas& formulas, const AllBounds& bounds, int variable) {
  const Bounds& x = bounds[static_cast<std::size_t>(variable)];
  std::vector<bool> loose(x.size());
  for (const auto& formula : formulas.all()) {
    if (std::ranges::find(formula->inputs, variable) == formula->inputs.end()) continue;
    const PointwiseFormula* pointwise = formula->pointwise();
    if (pointwise == nullptr) {
      // A maximum or a product is only as good as the intervals it is given.
      if (formula->linear() == nullptr && formula->opaque() == nullptr) loose.assign(x.size(), true);
      continue;
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      const Interval at = x.at(i);
      if (!std::isfinite(at.lower) || !std::isfinite(at.upper)) continue;
      const Lines lines = pointwise->lines(at, static_cast<std::int64_t>(i));
      const double gap = std::max(std::abs((lines.upper_slope - lines.lower_slope) * at.lower +
                                           lines.upper_offset - lines.lower_offset),
                                  std::abs((lines.upper_slope - lines.lower_slope) * at.upper +
                                           lines.upper_offset - lines.lower_offset));
      if (gap > 1e-5 * x.magnitude(i)) loose[i] = true;
    }
  }
  std::vector<std::int32_t> elements;
  for (std::size_t i = 0; i < loose.size(); ++i) {
    if (loose[i] && std::isfinite(x.magnitude(i))) elements.push_back(static_cast<std::int32_t>(i));
  }
  return elements;
}

bool tighten(const Formulas& formulas, AllBounds& bounds, int variable,
             std::span<const std::int32_t> elements, Parallel& parallel, const std::function<bool()>& stop) {
  Bounds& x = bounds[static_cast<std::size_t>(variable)];
  std::vector<Interval> found(elements.size());
  std::atomic<bool> stopped = false;
  const std::size_t chunks = (elements.size() + kRows - 1) / kRows;
  // What is found is put in place at the end, so that it does not depend on the order of the chunks.
  parallel.for_each(static_cast<std::int64_t>(chunks), std::int64_t{1} << 40,
                    [&](std::int64_t chunk, int /*worker*/) {
                      if (stopped || (stop && stop())) {
                        stopped = true;
                        return;
                      }
                      const std::size_t first = static_cast<std::size_t>(chunk) * kRows;
                      const auto some = elements.subspan(first, std::min(kRows, elements.size() - first));
                      const auto up = Pass(formulas, bounds, variable, some, 1.0).results(false);
                      const auto down = Pass(formulas, bounds, variable, some, -1.0).results(false);
                      for (std::size_t i = 0; i < some.size(); ++i)
                        found[first + i] = {-down[i].upper, up[i].upper};
                    });
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const auto at = static_cast<std::size_t>(elements[i]);
    x.set(at, {std::max(x.lower[at], found[i].lower), std::min(x.upper[at], found[i].upper)});
  }
  return !stopped;
}

}  // namespace ember::auditing
