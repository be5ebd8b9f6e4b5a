#pragma once

// Sums, products and extrema over the lanes of one vector, always in the same order (a balanced tree), for
// *.isa.cpp files.

#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace lanes {

/// How two lanes, or two halves of a vector, become one.
struct SumLanes {
  static EMBER_INLINE float of(float a, float b) { return a + b; }
#if !defined(EMBER_ISA_NEON)
  static EMBER_INLINE __m128 of(__m128 a, __m128 b) { return _mm_add_ps(a, b); }
#endif
#if defined(EMBER_ISA_AVX2) || defined(EMBER_ISA_AVX512)
  static EMBER_INLINE __m256 of(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
#endif
};
struct ProductLanes {
  static EMBER_INLINE float of(float a, float b) { return a * b; }
#if !defined(EMBER_ISA_NEON)
  static EMBER_INLINE __m128 of(__m128 a, __m128 b) { return _mm_mul_ps(a, b); }
#endif
#if defined(EMBER_ISA_AVX2) || defined(EMBER_ISA_AVX512)
  static EMBER_INLINE __m256 of(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
#endif
};
/// NaN when either is: x86's max and min give the second operand then, so a NaN in the first is put back.
struct MaxLanes {
  static EMBER_INLINE float of(float a, float b) { return a != a || a > b ? a : b; }
#if !defined(EMBER_ISA_NEON)
  static EMBER_INLINE __m128 of(__m128 a, __m128 b) {
    return _mm_blendv_ps(_mm_max_ps(a, b), a, _mm_cmpunord_ps(a, a));
  }
#endif
#if defined(EMBER_ISA_AVX2) || defined(EMBER_ISA_AVX512)
  static EMBER_INLINE __m256 of(__m256 a, __m256 b) {
    return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  }
#endif
};
struct MinLanes {
  static EMBER_INLINE float of(float a, float b) { return a != a || a < b ? a : b; }
#if !defined(EMBER_ISA_NEON)
  static EMBER_INLINE __m128 of(__m128 a, __m128 b) {
    return _mm_blendv_ps(_mm_min_ps(a, b), a, _mm_cmpunord_ps(a, a));
  }
#endif
#if defined(EMBER_ISA_AVX2) || defined(EMBER_ISA_AVX512)
  static EMBER_INLINE __m256 of(__m256 a, __m256 b) {
    return _mm256_blendv_ps(_mm256_min_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  }
#endif
};

#if defined(EMBER_ISA_NEON)
template <class Combine>
EMBER_INLINE float horizontal(Vec x) {
  float lane[kLanes];
  store(lane, x);
#pragma GCC unroll 8
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (std::int64_t i = 0; i < half; ++i) lane[i] = Combine::of(lane[i], lane[i + half]);
  }
  return lane[0];
}
#else
template <class Combine>
EMBER_INLINE float horizontal(__m128 x) {
  const __m128 pair = Combine::of(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(Combine::of(pair, _mm_shuffle_ps(pair, pair, 1)));
}
#if defined(EMBER_ISA_AVX2) || defined(EMBER_ISA_AVX512)
template <class Combine>
EMBER_INLINE float horizontal(__m256 x) {
  return horizontal<Combine>(Combine::of(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
}
#endif
#if defined(EMBER_ISA_AVX512)
template <class Combine>
EMBER_INLINE float horizontal(__m512 x) {
  return horizontal<Combine>(Combine::of(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)));
}
#endif
template <class Combine>
EMBER_INLINE float horizontal(Vec x) {
#if defined(EMBER_ISA_AVX512)
  return horizontal<Combine>(static_cast<__m512>(x));
#elif defined(EMBER_ISA_AVX2)
  return horizontal<Combine>(static_cast<__m256>(x));
#else
  return horizontal<Combine>(static_cast<__m128>(x));
#endif
}
#endif

}  // namespace lanes

EMBER_INLINE float sum_lanes(Vec x) { return lanes::horizontal<lanes::SumLanes>(x); }
EMBER_INLINE float product_lanes(Vec x) { return lanes::horizontal<lanes::ProductLanes>(x); }
/// NaN when any lane is.
EMBER_INLINE float max_lanes(Vec x) { return lanes::horizontal<lanes::MaxLanes>(x); }
EMBER_INLINE float min_lanes(Vec x) { return lanes::horizontal<lanes::MinLanes>(x); }

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
