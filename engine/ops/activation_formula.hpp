#pragma once

#include <cmath>
#include <numbers>

#include "kernels/activation.hpp"

namespace ember::ops {

/// What ActivationKind means, in double: the oracle of operators and kernels. `alpha` is the slope for PRelu.
/// Formulas are rearranged only where the literal one overflows or cancels although its value is a number.
inline double activation_value(kernels::ActivationKind kind, double x, double alpha, double beta) {
  using enum kernels::ActivationKind;
  const auto sigmoid = [](double v) { return 1.0 / (1.0 + std::exp(-v)); };
  const auto softplus = [](double v) { return (v < 0.0 ? 0.0 : v) + std::log1p(std::exp(-std::abs(v))); };
  const auto clamp = [](double v, double low, double high) {
    const double raised = v < low ? low : v;
    return raised > high ? high : raised;
  };
  switch (kind) {
    case None: return x;
    case Relu: return x < 0.0 ? 0.0 : x;
    case LeakyRelu:
    case PRelu: return x < 0.0 ? alpha * x : x;
    case Elu: return x < 0.0 ? alpha * std::expm1(x) : x;
    case Selu: return beta * (x < 0.0 ? alpha * std::expm1(x) : x);
    case Celu: {
      const double low = alpha * std::expm1(x / alpha);
      return (x < 0.0 ? 0.0 : x) + (low > 0.0 ? 0.0 : low);
    }
    case ThresholdedRelu: return x > alpha ? x : 0.0;
    case Gelu: return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2));
    case GeluTanh: {
      const double scale = std::sqrt(2.0 / std::numbers::pi);
      return 0.5 * x * (1.0 + std::tanh(scale * (x + 0.044715 * x * x * x)));
    }
    case Sigmoid: return sigmoid(x);
    case HardSigmoid: return clamp(alpha * x + beta, 0.0, 1.0);
    case HardSwish: return x * clamp(x / 6.0 + 0.5, 0.0, 1.0);
    case Silu: return x * sigmoid(alpha * x);
    case Mish: return x * std::tanh(softplus(x));
    case Softplus: return softplus(x);
    case Softsign: return x / (1.0 + std::abs(x));
    case Tanh: return std::tanh(x);
    case Clip: return clamp(x, alpha, beta);
  }
  return x;
}

}  // namespace ember::ops
