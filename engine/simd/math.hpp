#pragma once

// Elementary functions of a Vec, for *.isa.cpp files. The polynomials are minimax fits (Remez for the
// plain ones, reweighted least squares for the quotients). Bounds are in units of the last place of the exact
// result ("ULP") over all float32 arguments on every instruction set; a result near or below 2^-126 may be
// flushed to zero. NaN gives NaN.

#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE::math {

/// c0 + c1 x + c2 x² + … by Horner's rule.
template <class... Rest>
EMBER_INLINE Vec polynomial(Vec x, float c0, Rest... rest) {
  if constexpr (sizeof...(rest) == 0) return broadcast(c0);
  else return fmadd(polynomial(x, rest...), x, broadcast(c0));
}

/// e^x = 2^n (1 + m) with n an integer and |x − n ln 2| <= ln(2)/2.
struct ExpParts {
  Vec m;
  Vec n;
};
EMBER_INLINE ExpParts split_exp(Vec x) {
  const Vec n = round_even(x * broadcast(1.44269504F));
  // ln 2 in two parts; the first has 10 bits so that its product with n is exact without fma too.
  Vec r = fnmadd(n, broadcast(0.693359375F), x);
  r = fnmadd(n, broadcast(-2.12194440e-4F), r);
  const Vec q =
      polynomial(r, 4.999999702e-01F, 1.666654348e-01F, 4.166720062e-02F, 8.366547525e-03F, 1.388251665e-03F);
  return {fmadd(r * r, q, r), n};
}

/// e^x, subnormal results included, within 2 ULP.
EMBER_INLINE Vec exp(Vec x) {
  const ExpParts e = split_exp(clamp(x, broadcast(-104.0F), broadcast(89.0F)));
  const Vec y = e.m + broadcast(1.0F);
#if defined(EMBER_ISA_AVX512)
  return _mm512_scalef_ps(y, e.n);
#else
  // Two factors, as 2^n itself may lie outside the normal range.
  const IntVec n = to_int(e.n);
  const IntVec half = shift_right<1>(n);
  return y * exp2_int(half) * exp2_int(n - half);
#endif
}

/// e^x for use inside other functions: 0 where x < −87.68, infinity where x > 88.37, and cheaper.
EMBER_INLINE Vec exp_flushed(Vec x) {
  const ExpParts e = split_exp(clamp(x, broadcast(-88.0F), broadcast(89.0F)));
  const Vec y = e.m + broadcast(1.0F);
#if defined(EMBER_ISA_AVX512)
  // Zero where the result would be subnormal, as below: a factor of 3e38 would make it a number again.
  return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(e.n, broadcast(-127.0F), _CMP_NEQ_UQ), y, e.n);
#else
  // n is in [−127, 128], and the exponent fields of its ends make exactly 0 and infinity.
  return y * as_float(shift_left<23>(to_int(e.n) + IntVec(127)));
#endif
}

/// e^x − 1, within 2 ULP.
EMBER_INLINE Vec expm1(Vec x) {
  const ExpParts e = split_exp(clamp(x, broadcast(-18.0F), broadcast(89.0F)));
  // Half the result first, as 2^128 is no float.
  const Vec scale = exp2_int(to_int(e.n) - IntVec(1));
  const Vec half = fmadd(e.m, scale, scale - broadcast(0.5F));
  return half + half;
}

/// ln(1 + u) for u in [0, 1], within 4 ULP.
EMBER_INLINE Vec log1p_unit(Vec u) {
  const Vec q = polynomial(u - broadcast(0.5F), 8.109301925e-01F, -2.885266542e-01F, 1.326090842e-01F,
                           -6.771145016e-02F, 3.663386032e-02F, -2.022824623e-02F, 1.158647612e-02F,
                           -8.574461564e-03F, 5.232693627e-03F);
  return u * q;
}

/// For odd functions that reach ±1: never beyond. The fits are used up to an argument at which they come out
/// above 1 on every instruction set, so that larger ones give exactly 1.
EMBER_INLINE Vec within_unit(Vec y) { return clamp(y, broadcast(-1.0F), broadcast(1.0F)); }

/// Within 7 ULP.
EMBER_INLINE Vec tanh(Vec x) {
  x = clamp(x, broadcast(-9.1073F), broadcast(9.1073F));
  const Vec x2 = x * x;
  const Vec p = polynomial(x2, 1.0F, 1.337973028e-01F, 3.494048957e-03F, 2.058370228e-05F, 1.331934740e-08F);
  const Vec q = polynomial(x2, 1.0F, 4.671304524e-01F, 2.587112971e-02F, 3.283115802e-04F, 7.762138807e-07F);
  return within_unit(x * p / q);
}

/// Within 7 ULP.
EMBER_INLINE Vec erf(Vec x) {
  x = clamp(x, broadcast(-3.96772F), broadcast(3.96772F));
  const Vec x2 = x * x;
  const Vec p = polynomial(x2, 1.128379107e+00F, 1.907810867e-01F, 5.278992280e-02F, 3.779490711e-03F,
                           2.848058357e-04F, 2.041991138e-06F);
  const Vec q = polynomial(x2, 1.0F, 5.024080276e-01F, 1.142563894e-01F, 1.499720197e-02F, 1.165183727e-03F,
                           3.800413833e-05F);
  return within_unit(x * p / q);
}

#if defined(EMBER_ISA_AVX512)
/// a / (1 + e^−x) for x in [−104, 104], without a division, which takes longer than all the rest.
EMBER_INLINE Vec divide_by_one_plus_exp(Vec a, Vec x) {
  // e^−x is 2^n e^−r with n a multiple of 1/16, whose fraction a permutation looks up: a sum this large has
  // no room for smaller ones, and ends in 16 n.
  const Vec large = broadcast(786432.0F);
  const Vec sum = fmadd(x, broadcast(-1.44269504F), large);
  const Vec n = sum - large;
  Vec r = fmadd(n, broadcast(0.693147182F), x);
  r = fmadd(n, broadcast(-1.90465421e-9F), r);
  // The polynomial is kScale e^−r, the fractions 2^(i/16) / kScale: a scale for which they happen to be near
  // floats.
  constexpr float kScale = 0.958264589F;
  const Vec p = polynomial(r, kScale, -kScale, kScale / 2.0F, -kScale / 6.0F);
  const Vec fractions = _mm512_setr_ps(
      1.04355311F, 1.08975518F, 1.13800275F, 1.18838644F, 1.24100077F, 1.29594457F, 1.35332096F, 1.41323757F,
      1.47580695F, 1.54114652F, 1.60937893F, 1.68063223F, 1.75504017F, 1.83274245F, 1.91388488F, 1.99861979F);
  // This multiplies by 2^⌊n⌋.
  const Vec power = _mm512_scalef_ps(_mm512_permutexvar_ps(as_int(sum), fractions), n);
  const Vec divisor = fmadd(power, p, broadcast(1.0F));
  const Vec reciprocal = _mm512_rcp14_ps(divisor);
  const Vec rough = a * reciprocal;
  const Vec rest = fnmadd(divisor, rough, a);
  // Infinities, which the rough quotient has right, leave NaN.
  return _mm512_mask3_fmadd_ps(rest, reciprocal, rough, _mm512_cmp_ps_mask(rest, rest, _CMP_ORD_Q));
}
#endif

/// 1 / (1 + e^−x), within 3 ULP.
EMBER_INLINE Vec sigmoid(Vec x) {
#if defined(EMBER_ISA_AVX512)
  return divide_by_one_plus_exp(broadcast(1.0F), clamp(x, broadcast(-104.0F), broadcast(104.0F)));
#else
  return broadcast(1.0F) / (broadcast(1.0F) + exp_flushed(-x));
#endif
}

/// a / (1 + e^−x) for an a that is NaN where x is, within 3 ULP.
EMBER_INLINE Vec times_sigmoid(Vec a, Vec x) {
#if defined(EMBER_ISA_AVX512)
  // The lesser magnitude with the sign of x: both bounds at once.
  return divide_by_one_plus_exp(a, _mm512_range_ps(x, broadcast(104.0F), 2));
#else
  return a / (broadcast(1.0F) + exp_flushed(-x));
#endif
}

/// ln(1 + e^x), within 4 ULP.
EMBER_INLINE Vec softplus(Vec x) { return at_least(x, broadcast(0.0F)) + log1p_unit(exp_flushed(-abs(x))); }

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE::math
