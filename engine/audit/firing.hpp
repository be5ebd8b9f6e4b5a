#pragma once

#include <cstdint>

#include "kernels/activation.hpp"
#include "kernels/statistics.hpp"

namespace ember::auditing {

/// What an activation does where it does not fire, which decides the verdicts that make sense for it.
enum class Nature : std::uint8_t {
  Rectifier,  ///< nothing passes, neither value nor gradient: a channel that never fires is silent
  TwoSided,   ///< the other side passes too (LeakyRelu, Elu, …): never silent, however one-sided
  Squashing,  ///< flat at both ends (Sigmoid, Tanh, …): what does not fire is saturated
};

/// What firing means for an activation. One principle: a value does not fire where the activation is flat,
/// that is where |derivative| <= 0.001, or exactly 0 where it has flat pieces:
///
///   kind                                  fires                        saturated
///   Relu, Clip(0, b)                      x > 0                        Clip: x >= b
///   ThresholdedRelu                       x > alpha
///   Clip(−∞, b)                           always                       x >= b
///   HardSwish, Gelu, GeluTanh, Mish       x > −3, −3.81, −3.737, −8.985
///   Silu                                  alpha x > −8.985
///   Softplus                              x > −6.907
///   LeakyRelu, PRelu, Elu, Selu, Celu     x > 0                        the last three: slope <= 0.001 at x
///   Sigmoid, Tanh, Softsign               |x| < 6.906, 4.147, 30.62    else
///   HardSigmoid, Clip(a, b), a not 0      strictly between the corners else
///
/// LeakyRelu, PRelu (per channel) and Elu with a slope or alpha of exactly 0 are Relu.
struct Firing {
  kernels::FiringRule rule;
  Nature nature = Nature::Rectifier;
  bool linear_above = false;  ///< linear over all values that fire and are not saturated
  bool linear_below = false;  ///< linear over all values that do not fire as well (LeakyRelu, PRelu)
};

Firing firing_of(const kernels::Activation& activation, std::int64_t channel);

}  // namespace ember::auditing
