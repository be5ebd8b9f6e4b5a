#include "audit/firing.hpp"

#include <cmath>
#include <limits>

namespace ember::auditing {

namespace {

using kernels::Activation;
using kernels::ActivationKind;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kFlat = 1e-3F;  ///< a slope that counts as none

// Where the slope of each passes ±kFlat.
constexpr float kSigmoidFlat = 6.9057523F;
constexpr float kTanhFlat = 4.1467747F;
constexpr float kSoftsignFlat = 30.622777F;
constexpr float kGeluFlat = -3.8103714F;
constexpr float kGeluTanhFlat = -3.7373492F;
constexpr float kSiluFlat = -8.9850616F;
constexpr float kMishFlat = -8.9852137F;
constexpr float kSoftplusFlat = -6.9067548F;

Firing rectifier(float above, bool linear = false) {
  return {.rule = {.fired_above = above}, .nature = Nature::Rectifier, .linear_above = linear};
}

Firing squashing(float low, float high) {
  return {.rule = {.fired_above = low, .fired_below = high, .saturated_up_to = low, .saturated_from = high},
          .nature = Nature::Squashing};
}

Firing leaky(float slope) {
  if (slope == 0.0F) return rectifier(0.0F, true);
  return {.rule = {}, .nature = Nature::TwoSided, .linear_above = true, .linear_below = true};
}

/// Slope at x < 0: factor · e^(rate x).
Firing exponential(float factor, float rate) {
  if (factor == 0.0F) return rectifier(0.0F, true);
  return {.rule = {.saturated_up_to = std::log(kFlat / std::abs(factor)) / rate},
          .nature = Nature::TwoSided,
          .linear_above = true};
}

Firing clip(float low, float high) {
  if (low == -kInfinity) {
    return {.rule = {.fired_above = low, .saturated_from = high},
            .nature = Nature::Rectifier,
            .linear_above = true};
  }
  if (low == 0.0F) {
    return {.rule = {.saturated_from = high}, .nature = Nature::Rectifier, .linear_above = true};
  }
  Firing firing = squashing(low, high);
  firing.linear_above = true;
  return firing;
}

Firing hard_sigmoid(float alpha, float beta) {
  // A constant function: saturated everywhere, firing nowhere.
  if (alpha == 0.0F) return squashing(std::numeric_limits<float>::max(), kInfinity);
  const float zero = -beta / alpha;
  const float one = (1.0F - beta) / alpha;
  Firing firing = zero < one ? squashing(zero, one) : squashing(one, zero);
  firing.linear_above = true;
  return firing;
}

}  // namespace

Firing firing_of(const Activation& activation, std::int64_t channel) {
  switch (activation.kind) {
    case ActivationKind::None: return {.rule = {.fired_above = -kInfinity}, .linear_above = true};
    case ActivationKind::Relu: return rectifier(0.0F, true);
    case ActivationKind::ThresholdedRelu: return rectifier(activation.alpha, true);
    case ActivationKind::Clip: return clip(activation.alpha, activation.beta);
    case ActivationKind::LeakyRelu: return leaky(activation.alpha);
    case ActivationKind::PRelu: return leaky(activation.slopes[activation.slope_count == 1 ? 0 : channel]);
    case ActivationKind::Elu: return exponential(activation.alpha, 1.0F);
    case ActivationKind::Selu: return exponential(activation.alpha * activation.beta, 1.0F);
    case ActivationKind::Celu: return exponential(1.0F, 1.0F / activation.alpha);
    case ActivationKind::Gelu: return rectifier(kGeluFlat);
    case ActivationKind::GeluTanh: return rectifier(kGeluTanhFlat);
    case ActivationKind::HardSwish: return rectifier(-3.0F);
    case ActivationKind::Mish: return rectifier(kMishFlat);
    case ActivationKind::Softplus: return rectifier(kSoftplusFlat);
    case ActivationKind::Silu:
      return rectifier(activation.alpha > 0.0F ? kSiluFlat / activation.alpha : -kInfinity);
    case ActivationKind::Sigmoid: return squashing(-kSigmoidFlat, kSigmoidFlat);
    case ActivationKind::Tanh: return squashing(-kTanhFlat, kTanhFlat);
    case ActivationKind::Softsign: return squashing(-kSoftsignFlat, kSoftsignFlat);
    case ActivationKind::HardSigmoid: return hard_sigmoid(activation.alpha, activation.beta);
  }
  return {};
}

}  // namespace ember::auditing
