#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <string_view>
#include <utility>
#include <vector>

#include "audit/activation_formula.hpp"
#include "audit/formulas.hpp"
#include "ops/activation.hpp"

// Functions of one variable.

namespace ember::auditing {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

enum class Trend : std::uint8_t { Rising, Falling, Even, Bounded };

/// A function of one argument with its derivative and where it is defined.
struct UnaryFunction {
  std::string_view op;
  double (*value)(double);
  double (*slope)(double);
  Trend trend;      ///< Even: falls to 0, then rises; Bounded: nothing but `range`
  Interval domain;  ///< outside, and at its open ends, the result may be anything
  Interval range;
  bool exact = false;
};

double none(double) { return 0.0; }
double sign(double x) { return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0; }
double reciprocal(double x) { return 1.0 / x; }

constexpr double kTiny = 1e-37;
constexpr std::array kUnary = {
    UnaryFunction{"Abs", std::abs, sign, Trend::Even, {}, {0, kInfinity}, true},
    UnaryFunction{"Floor", std::floor, none, Trend::Rising, {}, {}, true},
    UnaryFunction{"Ceil", std::ceil, none, Trend::Rising, {}, {}, true},
    UnaryFunction{"Round", std::nearbyint, none, Trend::Rising, {}, {}, true},
    UnaryFunction{"Sign", sign, none, Trend::Rising, {}, {-1, 1}, true},
    UnaryFunction{"Exp", std::exp, std::exp, Trend::Rising, {}, {0, kInfinity}},
    UnaryFunction{"Log", std::log, reciprocal, Trend::Rising, {kTiny, kInfinity}, {}},
    UnaryFunction{"Sqrt",
                  std::sqrt,
                  [](double x) { return 0.5 / std::sqrt(x); },
                  Trend::Rising,
                  {0, kInfinity},
                  {0, kInfinity}},
    UnaryFunction{"Erf",
                  std::erf,
                  [](double x) { return 2.0 / std::sqrt(std::numbers::pi) * std::exp(-x * x); },
                  Trend::Rising,
                  {},
                  {-1.00001, 1.00001}},
    UnaryFunction{"Atan",
                  std::atan,
                  [](double x) { return 1.0 / (1.0 + x * x); },
                  Trend::Rising,
                  {},
                  {-1.5709, 1.5709}},
    UnaryFunction{
        "Asinh", std::asinh, [](double x) { return 1.0 / std::sqrt(1.0 + x * x); }, Trend::Rising, {}, {}},
    UnaryFunction{"Sinh", std::sinh, std::cosh, Trend::Rising, {}, {}},
    UnaryFunction{"Sin", std::sin, std::cos, Trend::Bounded, {}, {-1.00001, 1.00001}},
    UnaryFunction{
        "Cos", std::cos, [](double x) { return -std::sin(x); }, Trend::Bounded, {}, {-1.00001, 1.00001}},
};

class UnaryFormula final : public PointwiseFormula {
 public:
  explicit UnaryFormula(const UnaryFunction& function) : f_(function) {}
  [[nodiscard]] double value(double x, std::int64_t /*i*/) const override { return f_.value(x); }
  [[nodiscard]] double slope(double x, std::int64_t /*i*/) const override { return f_.slope(x); }
  [[nodiscard]] Interval hull(Interval x, std::int64_t /*i*/) const override {
    if (x.lower < f_.domain.lower || x.upper > f_.domain.upper) return {};
    if (f_.trend == Trend::Bounded) return f_.range;
    Interval y = {f_.value(x.lower), f_.value(x.upper)};
    if (f_.trend == Trend::Even) {
      y = {x.lower <= 0.0 && x.upper >= 0.0 ? 0.0 : std::min(y.lower, y.upper), std::max(y.lower, y.upper)};
    }
    if (!f_.exact) {
      y.lower -= 4e-6 * std::abs(y.lower) + 1e-6;
      y.upper += 4e-6 * std::abs(y.upper) + 1e-6;
    }
    if (std::isnan(y.lower)) y.lower = -kInfinity;
    if (std::isnan(y.upper)) y.upper = kInfinity;
    return {std::max(y.lower, f_.range.lower), std::min(y.upper, f_.range.upper)};
  }

 private:
  UnaryFunction f_;
};

class ReciprocalFormula final : public PointwiseFormula {
 public:
  [[nodiscard]] double value(double x, std::int64_t /*i*/) const override { return 1.0 / x; }
  [[nodiscard]] double slope(double x, std::int64_t /*i*/) const override { return -1.0 / (x * x); }
  [[nodiscard]] Interval hull(Interval x, std::int64_t /*i*/) const override {
    if (x.lower <= kTiny && x.upper >= -kTiny) return {};
    const double low = 1.0 / x.upper;
    const double high = 1.0 / x.lower;
    return {low - 1e-6 * std::abs(low) - kTiny, high + 1e-6 * std::abs(high) + kTiny};
  }
};

/// x to a known power.
class PowerFormula final : public PointwiseFormula {
 public:
  explicit PowerFormula(double power) : p_(power) {}
  [[nodiscard]] double value(double x, std::int64_t /*i*/) const override { return std::pow(x, p_); }
  [[nodiscard]] double slope(double x, std::int64_t /*i*/) const override {
    return p_ == 0.0 ? 0.0 : p_ * std::pow(x, p_ - 1.0);
  }
  [[nodiscard]] Interval hull(Interval x, std::int64_t /*i*/) const override {
    const bool whole = p_ == std::floor(p_) && p_ > 0.0;
    const bool even = whole && std::fmod(p_, 2.0) == 0.0;
    if (!whole && (p_ < 0.0 ? x.lower <= kTiny : x.lower < 0.0)) return {};
    const double a = std::pow(x.lower, p_);
    const double b = std::pow(x.upper, p_);
    const double low = even && x.lower <= 0.0 && x.upper >= 0.0 ? 0.0 : std::min(a, b);
    const double high = std::max(a, b);
    const double bottom = low >= 0.0 ? 0.0 : -kInfinity;
    return {std::max(bottom, low - 4e-6 * std::abs(low) - 1e-30), high + 4e-6 * std::abs(high) + 1e-30};
  }

 private:
  double p_;
};

template <class F>
NodeFormulas pointwise(const FormulaNode& node, std::unique_ptr<F> formula) {
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  return one(std::move(formula));
}

NodeFormulas prelu(const FormulaNode& node) {
  if (node.constant(1) == nullptr) return {};
  return pointwise(node, std::make_unique<ActivationFormula>(
                             node.doubles(1), broadcast_indices(node.output_shape(), node.shape(1))));
}

}  // namespace

std::unique_ptr<Formula> reciprocal_formula(int variable) {
  auto formula = std::make_unique<ReciprocalFormula>();
  formula->inputs = {variable};
  formula->output = -2;
  return formula;
}

NodeFormulas pointwise_formulas(const FormulaNode& node) {
  if (node.input_count() == 0 || !node.is_variable(0) || node.output_type() != DataType::Float32) return {};
  if (node.op() == "PRelu") return prelu(node);
  std::vector<const Tensor*> constants;
  for (int i = 0; i < node.input_count(); ++i) constants.push_back(node.constant(i));
  if (const auto function = ops::activation_of(node, constants))
    return pointwise(node, std::make_unique<ActivationFormula>(*function));
  for (const UnaryFunction& function : kUnary) {
    if (function.op == node.op()) return pointwise(node, std::make_unique<UnaryFormula>(function));
  }
  if (node.op() == "Reciprocal") return pointwise(node, std::make_unique<ReciprocalFormula>());
  if (node.op() == "Pow" && node.constant(1) != nullptr && node.constant(1)->elements() == 1 &&
      node.shape(0) == node.output_shape()) {
    return pointwise(node, std::make_unique<PowerFormula>(node.doubles(1)[0]));
  }
  return {};
}

}  // namespace ember::auditing
