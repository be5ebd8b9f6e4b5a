#include "audit/binomial.hpp"

#include <cmath>

namespace ember::auditing {

namespace {

/// The continued fraction of I_x(a, b), by Lentz's method. Converges quickly for x < (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  constexpr double kEnough = 1e-15;
  // The number of steps grows as the square root of the larger parameter; this is far beyond any count.
  constexpr int kSteps = 100000;
  const auto nonzero = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
  double c = 1.0;
  double d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
  double result = d;
  for (int m = 1; m <= kSteps; ++m) {
    const double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
    d = 1.0 / nonzero(1.0 + even * d);
    c = nonzero(1.0 + even / c);
    result *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
    d = 1.0 / nonzero(1.0 + odd * d);
    c = nonzero(1.0 + odd / c);
    result *= d * c;
    if (std::abs(d * c - 1.0) < kEnough) break;
  }
  return result;
}

/// ln Γ; std::lgamma writes a global sign, which threads would share.
double log_gamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

}  // namespace

double incomplete_beta(double a, double b, double x) {
  if (x <= 0.0) return 0.0;
  if (x >= 1.0) return 1.0;
  const double front =
      std::exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * std::log(x) + b * std::log1p(-x));
  if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(a, b, x) / a;
  return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

double upper_rate(std::int64_t fired, std::int64_t trials, double alpha) {
  if (trials <= 0 || fired >= trials) return 1.0;
  const auto n = static_cast<double>(trials);
  if (fired <= 0) return -std::expm1(std::log(alpha) / n);
  const auto k = static_cast<double>(fired);
  // P(X <= k) falls as the rate grows; it is I_{1−rate}(n − k, k + 1).
  double low = k / n;
  double high = 1.0;
  while (true) {
    const double middle = low + (high - low) / 2.0;
    if (middle <= low || middle >= high) return high;
    (incomplete_beta(n - k, k + 1.0, 1.0 - middle) > alpha ? low : high) = middle;
  }
}

}  // namespace ember::auditing
