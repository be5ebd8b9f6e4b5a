#include "audit/activation_formula.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>
#include <utility>

#include "audit/rounding.hpp"
#include "ops/activation_formula.hpp"

namespace ember::auditing {

namespace {

using kernels::ActivationKind;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A function that is linear on both sides of a knot.
struct Corner {
  double knot, value, left, right;
};

Lines through(const Corner& c, Interval x) {
  const auto f = [&](double at) { return c.value + (at < c.knot ? c.left : c.right) * (at - c.knot); };
  const auto piece = [&](double slope) { return std::pair{slope, c.value - slope * c.knot}; };
  if (x.upper <= c.knot || x.lower >= c.knot) {
    const auto [slope, offset] = piece(x.upper <= c.knot ? c.left : c.right);
    return {slope, offset, slope, offset};
  }
  const double chord = (f(x.upper) - f(x.lower)) / (x.upper - x.lower);
  const double chord_offset = f(x.lower) - chord * x.lower;
  // Of the two pieces the one that leaves the smaller area.
  const bool right = x.upper - c.knot > c.knot - x.lower;
  const auto [slope, offset] = piece(right ? c.right : c.left);
  if (c.left <= c.right) return {slope, offset, chord, chord_offset};
  return {chord, chord_offset, slope, offset};
}

/// min(max(x, a), b)
Lines through_clip(double a, double b, Interval x) {
  if (x.upper <= b) return through({.knot = a, .value = a, .left = 0, .right = 1}, x);
  if (x.lower >= a) return through({.knot = b, .value = b, .left = 1, .right = 0}, x);
  const double lower = (b - a) / (x.upper - a);
  const double upper = (b - a) / (b - x.lower);
  return {lower, a - lower * a, upper, a - upper * x.lower};
}

/// Where a function that is not monotone turns, apart from a corner at 0.
std::span<const double> turning_points(ActivationKind kind) {
  using enum ActivationKind;
  static constexpr std::array kGelu = {-0.7517915246935645};
  static constexpr std::array kGeluTanh = {-0.7524614220710162};
  static constexpr std::array kHardSwish = {-1.5};
  static constexpr std::array kMish = {-1.1924312};
  switch (kind) {
    case Gelu: return kGelu;
    case GeluTanh: return kGeluTanh;
    case HardSwish: return kHardSwish;
    case Mish: return kMish;
    default: return {};
  }
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

double gelu_slope(double x) {
  return 0.5 * (1.0 + std::erf(x / std::numbers::sqrt2)) +
         x * std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi);
}

double gelu_tanh_slope(double x) {
  const double scale = std::sqrt(2.0 / std::numbers::pi);
  const double t = std::tanh(scale * (x + 0.044715 * x * x * x));
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * scale * (1.0 + 3.0 * 0.044715 * x * x);
}

double mish_slope(double x) {
  const double t = std::tanh(ops::activation_value(ActivationKind::Softplus, x, 0, 0));
  return t + x * (1.0 - t * t) * sigmoid(x);
}

}  // namespace

ActivationFormula::ActivationFormula(std::vector<double> slopes, std::vector<std::int32_t> slope_index)
    : function_{.kind = ActivationKind::PRelu},
      slopes_(std::move(slopes)),
      slope_index_(std::move(slope_index)) {}

double ActivationFormula::alpha(std::int64_t i) const {
  if (slope_index_.empty()) return double{function_.alpha};
  return slopes_[static_cast<std::size_t>(slope_index_[static_cast<std::size_t>(i)])];
}

double ActivationFormula::value(double x, std::int64_t i) const {
  return ops::activation_value(function_.kind, x, alpha(i), double{function_.beta});
}

double ActivationFormula::slope(double x, std::int64_t i) const {
  using enum ActivationKind;
  const double a = alpha(i);
  const double b = double{function_.beta};
  switch (function_.kind) {
    case None: return 1.0;
    case Relu: return x > 0.0 ? 1.0 : 0.0;
    case LeakyRelu:
    case PRelu: return x > 0.0 ? 1.0 : a;
    case Elu: return x > 0.0 ? 1.0 : a * std::exp(x);
    case Selu: return b * (x > 0.0 ? 1.0 : a * std::exp(x));
    case Celu: return x > 0.0 ? 1.0 : std::exp(x / a);
    case ThresholdedRelu: return x > a ? 1.0 : 0.0;
    case Gelu: return gelu_slope(x);
    case GeluTanh: return gelu_tanh_slope(x);
    case Sigmoid: return sigmoid(x) * sigmoid(-x);
    case HardSigmoid: return a * x + b > 0.0 && a * x + b < 1.0 ? a : 0.0;
    case HardSwish: return x <= -3.0 ? 0.0 : x >= 3.0 ? 1.0 : x / 3.0 + 0.5;
    case Silu: return sigmoid(a * x) * (1.0 + a * x * sigmoid(-a * x));
    case Mish: return mish_slope(x);
    case Softplus: return sigmoid(x);
    case Softsign: return 1.0 / ((1.0 + std::abs(x)) * (1.0 + std::abs(x)));
    case Tanh: return 1.0 / (std::cosh(x) * std::cosh(x));
    case Clip: return x > a && x < b ? 1.0 : 0.0;
  }
  return 0.0;
}

/// The value at an end of an interval, which may be infinite.
double ActivationFormula::extreme(double x, std::int64_t i) const {
  constexpr double kFar = 1e300;
  const double y = value(std::clamp(x, -kFar, kFar), i);
  return std::abs(y) > 1e200 ? std::copysign(kInfinity, y) : y;
}

/// What the kernel may err by over `x` when its results reach `largest` in magnitude: the promise of
/// kernels/activation_math.hpp, doubled and more.
double ActivationFormula::error(Interval x, double largest, std::int64_t i) const {
  using enum ActivationKind;
  constexpr double kAbsolute = 0x1p-119;
  const double input = std::max(std::abs(x.lower), std::abs(x.upper));
  switch (function_.kind) {
    case None:
    case Relu:
    case ThresholdedRelu:
    case Clip: return 0.0;
    case LeakyRelu:
    case PRelu: return 2.0 * kUnit * largest + kAbsolute;
    case Gelu:
    case GeluTanh: return 5e-7 * std::max(1.0, input);
    case HardSigmoid: return 2e-7 * (std::abs(alpha(i)) * input + std::abs(double{function_.beta}));
    case Silu: return 1e-5 * largest + kAbsolute;
    default: return 2e-6 * largest + kAbsolute;
  }
}

Interval ActivationFormula::hull(Interval x, std::int64_t i) const {
  using enum ActivationKind;
  double low = extreme(x.lower, i);
  double high = extreme(x.upper, i);
  if (low > high) std::swap(low, high);
  const auto include = [&](double at) {
    if (at <= x.lower || at >= x.upper) return;
    const double y = value(at, i);
    low = std::min(low, y);
    high = std::max(high, y);
  };
  include(0.0);
  for (const double at : turning_points(function_.kind)) include(at);
  const double a = alpha(i);
  if (function_.kind == Silu) {
    for (const double at : {-1.278464542761074, 1.278464542761074}) include(at / (a == 0.0 ? 1.0 : a));
  }
  if (function_.kind == ThresholdedRelu && x.lower <= a && x.upper > a) {
    low = std::min({low, 0.0, a});
    high = std::max({high, 0.0, a});
  }
  const double largest = std::max(std::abs(low), std::abs(high));
  const double e = error(x, largest, i);
  Interval y = {low - e, high + e};
  if (std::isnan(y.lower)) y.lower = -kInfinity;
  if (std::isnan(y.upper)) y.upper = kInfinity;
  switch (function_.kind) {
    case Sigmoid:
    case HardSigmoid: return {std::max(y.lower, 0.0), std::min(y.upper, 1.0)};
    case Tanh:
    case Softsign: return {std::max(y.lower, -1.0), std::min(y.upper, 1.0)};
    case Softplus: return {std::max(y.lower, 0.0), y.upper};
    default: return y;
  }
}

Lines ActivationFormula::lines(Interval x, std::int64_t i) const {
  using enum ActivationKind;
  const double a = alpha(i);
  Lines lines;
  switch (function_.kind) {
    case None: return {1.0, 0.0, 1.0, 0.0};
    case Relu: return through({.knot = 0, .value = 0, .left = 0, .right = 1}, x);
    case LeakyRelu:
    case PRelu: lines = through({.knot = 0, .value = 0, .left = a, .right = 1}, x); break;
    case Clip: {
      const double b = double{function_.beta};
      if (!(a <= b)) return PointwiseFormula::lines(x, i);
      if (std::isinf(a) && std::isinf(b)) return {1.0, 0.0, 1.0, 0.0};
      if (std::isinf(a)) return through({.knot = b, .value = b, .left = 1, .right = 0}, x);
      if (std::isinf(b)) return through({.knot = a, .value = a, .left = 0, .right = 1}, x);
      return through_clip(a, b, x);
    }
    case Sigmoid:
    case Tanh: {
      // Both slopes fall away from 0, so the smaller one at the ends is the smallest in between.
      const double s = std::min(slope(x.lower, i), slope(x.upper, i)) * (1.0 - 1e-9);
      lines = {s, value(x.lower, i) - s * x.lower, s, value(x.upper, i) - s * x.upper};
      break;
    }
    default: return PointwiseFormula::lines(x, i);
  }
  const double largest = std::max(std::abs(extreme(x.lower, i)), std::abs(extreme(x.upper, i)));
  const double e = error(x, std::max(largest, std::abs(value(0.0, i))), i);
  lines.lower_offset -= e;
  lines.upper_offset += e;
  return lines;
}

}  // namespace ember::auditing
