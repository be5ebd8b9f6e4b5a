#pragma once

// Activations of a Vec, for *.isa.cpp files. How a kernel applies one to its result:
//
//   * None, Relu and Clip cost next to nothing in registers. Write the tile as a template over the kind,
//     and choose the instance once per call, outside of every loop:
//
//       with_register_activation(a, [&](auto kind) { tile<kind.value>(..., a); });
//       // in tile, before the loops:    const ActivationConstants c = constants(a);
//       // at the end, on accumulators:  store(y, apply<kKind>(acc, c));
//
//   * Every other kind runs as a second pass over the finished tile while it is in L1; the instance chosen
//     above is the one for None:
//
//       if (!runs_in_registers(a.kind)) apply_rows(a, tile, tile, rows, width, stride, stride, channel);
//
//     apply_rows takes PRelu slopes along the row, as in blocked layouts and matrix products. Where a row
//     is one channel (plain layout), apply_channel does it.

#include "kernels/activation.hpp"
#include "simd/math.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// An activation's parameters in registers.
struct ActivationConstants {
  Vec alpha;  ///< PRelu: the slopes of the lanes
  Vec beta;
  Vec derived;  ///< Celu: 1 / alpha; Selu: alpha beta
};

EMBER_INLINE ActivationConstants constants(const Activation& a) {
  const float derived = a.kind == ActivationKind::Celu ? 1.0F / a.alpha : a.alpha * a.beta;
  return {broadcast(a.alpha), broadcast(a.beta), broadcast(derived)};
}

/// The activation of every lane. NaN gives NaN except with ThresholdedRelu (0), and limits at ±inf are
/// those of the formula in ActivationKind evaluated in floating point (Silu(−inf) is −inf · 0, NaN). Errors,
/// beyond an absolute 2^-119:
///   none: Relu, ThresholdedRelu, Clip; the product's rounding: LeakyRelu, PRelu
///   ULP of the result: Elu 2, Selu 3, Celu 3, Sigmoid 3, HardSwish 3, Silu (alpha = 1) 3, Mish 6,
///     Softplus 4, Softsign 2, Tanh 7
///   absolute: Gelu 2.5e-7 max(1, |x|), GeluTanh 2e-7 max(1, |x|), HardSigmoid 6.1e-8 (|alpha x| + |beta|)
template <ActivationKind kKind>
EMBER_INLINE Vec apply(Vec x, const ActivationConstants& c) {
  using enum ActivationKind;
  const Vec zero = broadcast(0.0F);
  const Vec one = broadcast(1.0F);
  if constexpr (kKind == None) return x;
  else if constexpr (kKind == Relu) return at_least(x, zero);
  else if constexpr (kKind == LeakyRelu || kKind == PRelu) return select(x < zero, c.alpha * x, x);
  else if constexpr (kKind == Elu) return select(x < zero, c.alpha * math::expm1(x), x);
  else if constexpr (kKind == Selu) return select(x < zero, c.derived * math::expm1(x), c.beta * x);
  else if constexpr (kKind == Celu)
    return at_least(x, zero) + at_most(c.alpha * math::expm1(x * c.derived), zero);
  else if constexpr (kKind == ThresholdedRelu) return select(x > c.alpha, x, zero);
  else if constexpr (kKind == Gelu) {
    const Vec half = x * broadcast(0.5F);
    return fmadd(half, math::erf(x * broadcast(0.707106781F)), half);
  } else if constexpr (kKind == GeluTanh) {
    // (1 + tanh u) / 2 = 1 / (1 + e^−2u), with 2u = x (1.596 + 0.0714 x²).
    return math::times_sigmoid(x, x * fmadd(x * x, broadcast(7.13548163e-2F), broadcast(1.59576912F)));
  } else if constexpr (kKind == Sigmoid) return math::sigmoid(x);
  else if constexpr (kKind == HardSigmoid) return clamp(fmadd(c.alpha, x, c.beta), zero, one);
  else if constexpr (kKind == HardSwish) {
    // x + 3 is exact where it is small, and 6 · (1/6) rounds to 1.
    const Vec gate = clamp(x + broadcast(3.0F), zero, broadcast(6.0F)) * broadcast(1.0F / 6.0F);
    return x * gate;
  } else if constexpr (kKind == Silu) return math::times_sigmoid(x, c.alpha * x);
  else if constexpr (kKind == Mish) {
    // tanh(ln(1 + e)) = w / (w + 2), w = e (e + 2); from x = 20 on it rounds to 1.
    const Vec e = math::exp_flushed(at_most(x, broadcast(20.0F)));
    const Vec w = e * (e + broadcast(2.0F));
    return x * (w / (w + broadcast(2.0F)));
  } else if constexpr (kKind == Softplus) return math::softplus(x);
  else if constexpr (kKind == Softsign) return x / (one + abs(x));
  else if constexpr (kKind == Tanh) return math::tanh(x);
  else {
    static_assert(kKind == Clip);
    return clamp(x, c.alpha, c.beta);
  }
}

/// A kind as a type; `.value` is usable as a template argument.
template <ActivationKind kKind>
struct KindConstant {
  static constexpr ActivationKind value = kKind;
};

/// Whether a kernel applies this kind itself, in registers.
EMBER_INLINE constexpr bool runs_in_registers(ActivationKind kind) {
  return kind == ActivationKind::None || kind == ActivationKind::Relu || kind == ActivationKind::Clip;
}

/// Calls f with the KindConstant of None, Relu or Clip: the kind itself if it runs in registers, else None.
template <class F>
EMBER_INLINE void with_register_activation(const Activation& a, F&& f) {
  switch (a.kind) {
    case ActivationKind::Relu: f(KindConstant<ActivationKind::Relu>{}); break;
    case ActivationKind::Clip: f(KindConstant<ActivationKind::Clip>{}); break;
    default: f(KindConstant<ActivationKind::None>{}); break;
  }
}

/// y = activation(x) for `rows` rows of `width` floats that lie `x_stride` and `y_stride` apart; x == y is
/// allowed. Lane i of a row is channel first_channel + i of the PRelu slopes, unless there is but one.
void apply_rows(const Activation& a, const float* x, float* y, std::int64_t rows, std::int64_t width,
                std::int64_t x_stride, std::int64_t y_stride, std::int64_t first_channel);

/// The same for n contiguous floats that are all of one channel.
void apply_channel(const Activation& a, const float* x, float* y, std::int64_t n, std::int64_t channel);

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
