#pragma once

// The facade over xsimd. Included only by *.isa.cpp files, which are compiled once per instruction
// set with EMBER_ISA_NAMESPACE set; everything lives in that namespace so that no symbol is shared
// between instruction sets. It builds with xsimd 8.1 and 13; what one of them lacks or gets wrong
// (see the comments) is written out here, so kernels use these functions rather than xsimd's own.

#include <cstdint>

#include <xsimd/xsimd.hpp>

#if !defined(EMBER_ISA_NAMESPACE)
#error "simd/vec.hpp is for files compiled per instruction set (*.isa.cpp)"
#endif

#define EMBER_INLINE inline __attribute__((always_inline))

namespace ember::kernels::EMBER_ISA_NAMESPACE {

#if defined(EMBER_ISA_AVX512)
using Arch = xsimd::avx512bw;
#elif defined(EMBER_ISA_AVX2)
using Arch = xsimd::fma3<xsimd::avx2>;
#elif defined(EMBER_ISA_SSE42)
using Arch = xsimd::sse4_2;
#elif defined(EMBER_ISA_NEON)
using Arch = xsimd::neon64;
#endif

/// A vector of floats, as wide as the instruction set, with + - * / and comparisons giving a Mask.
using Vec = xsimd::batch<float, Arch>;
/// As many int32, with + - * & | ^ << >> (arithmetic) and comparisons giving an IntMask.
using IntVec = xsimd::batch<std::int32_t, Arch>;
using Mask = xsimd::batch_bool<float, Arch>;
using IntMask = xsimd::batch_bool<std::int32_t, Arch>;
inline constexpr std::int64_t kLanes = static_cast<std::int64_t>(Vec::size);

// ---- load and store; no alignment is assumed

EMBER_INLINE Vec broadcast(float x) { return Vec(x); }
EMBER_INLINE IntVec broadcast(std::int32_t x) { return IntVec(x); }
EMBER_INLINE Vec load(const float* from) { return Vec::load_unaligned(from); }
EMBER_INLINE IntVec load(const std::int32_t* from) { return IntVec::load_unaligned(from); }
EMBER_INLINE void store(float* to, Vec x) { x.store_unaligned(to); }
EMBER_INLINE void store(std::int32_t* to, IntVec x) { x.store_unaligned(to); }

namespace detail {

#if defined(EMBER_ISA_AVX512)
EMBER_INLINE __mmask16 first_lanes(std::int64_t n) { return static_cast<__mmask16>((1U << n) - 1U); }
#elif defined(EMBER_ISA_AVX2)
EMBER_INLINE __m256i first_lanes(std::int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

}  // namespace detail

/// The first n lanes from memory, 0 <= n <= kLanes, the others 0. Reads nothing beyond them.
EMBER_INLINE Vec load_partial(const float* from, std::int64_t n) {
#if defined(EMBER_ISA_AVX512)
  return _mm512_maskz_loadu_ps(detail::first_lanes(n), from);
#elif defined(EMBER_ISA_AVX2)
  return _mm256_maskload_ps(from, detail::first_lanes(n));
#else
  float lanes[kLanes] = {};
  for (std::int64_t i = 0; i < n; ++i) lanes[i] = from[i];
  return Vec::load_unaligned(lanes);
#endif
}

/// Writes the first n lanes, 0 <= n <= kLanes, and nothing beyond them.
EMBER_INLINE void store_partial(float* to, Vec x, std::int64_t n) {
#if defined(EMBER_ISA_AVX512)
  _mm512_mask_storeu_ps(to, detail::first_lanes(n), x);
#elif defined(EMBER_ISA_AVX2)
  _mm256_maskstore_ps(to, detail::first_lanes(n), x);
#else
  float lanes[kLanes];
  x.store_unaligned(lanes);
  for (std::int64_t i = 0; i < n; ++i) to[i] = lanes[i];
#endif
}

// ---- arithmetic

/// a b + c with one rounding where the hardware has it. xsimd 8.1's AVX-512 fma is x*y+z, fused only
/// if the compiler contracts it, so the instruction is named here.
EMBER_INLINE Vec fmadd(Vec a, Vec b, Vec c) {
#if defined(EMBER_ISA_AVX512)
  return _mm512_fmadd_ps(a, b, c);
#else
  return xsimd::fma(a, b, c);
#endif
}

/// c − a b, fused as fmadd is.
EMBER_INLINE Vec fnmadd(Vec a, Vec b, Vec c) {
#if defined(EMBER_ISA_AVX512)
  return _mm512_fnmadd_ps(a, b, c);
#elif defined(EMBER_ISA_AVX2)
  return _mm256_fnmadd_ps(a, b, c);
#else
  return c - a * b;
#endif
}

EMBER_INLINE Vec abs(Vec x) { return xsimd::abs(x); }
EMBER_INLINE Vec sqrt(Vec x) { return xsimd::sqrt(x); }
EMBER_INLINE Vec floor(Vec x) { return xsimd::floor(x); }
EMBER_INLINE Vec ceil(Vec x) { return xsimd::ceil(x); }
/// To the nearest integer, halves to even (ONNX Round).
EMBER_INLINE Vec round_even(Vec x) { return xsimd::nearbyint(x); }

// ---- compare and choose

EMBER_INLINE Vec select(Mask condition, Vec yes, Vec no) { return xsimd::select(condition, yes, no); }
EMBER_INLINE IntVec select(IntMask condition, IntVec yes, IntVec no) {
  return xsimd::select(condition, yes, no);
}
/// Not x != x, which is an ordered comparison (false for NaN) in xsimd 8.1 on AVX.
EMBER_INLINE Mask is_nan(Vec x) { return xsimd::isnan(x); }

/// max(x, bound) and min(x, bound) for a bound that is not NaN: one instruction, and a NaN in x stays.
/// (x86 returns the second operand when either is NaN.)
EMBER_INLINE Vec at_least(Vec x, Vec bound) {
#if defined(EMBER_ISA_NEON)
  return xsimd::select(x < bound, bound, x);
#else
  return xsimd::max(bound, x);
#endif
}
EMBER_INLINE Vec at_most(Vec x, Vec bound) {
#if defined(EMBER_ISA_NEON)
  return xsimd::select(x > bound, bound, x);
#else
  return xsimd::min(bound, x);
#endif
}
/// Both bounds applied; the upper one wins where they cross, as in ONNX Clip.
EMBER_INLINE Vec clamp(Vec x, Vec low, Vec high) { return at_most(at_least(x, low), high); }

/// NaN where either operand is NaN, as ONNX Max and Min want.
EMBER_INLINE Vec maximum(Vec a, Vec b) { return select(is_nan(a), a, at_least(b, a)); }
EMBER_INLINE Vec minimum(Vec a, Vec b) { return select(is_nan(a), a, at_most(b, a)); }

// ---- bits and integers

/// The same bits seen as the other type.
EMBER_INLINE IntVec as_int(Vec x) {
#if defined(EMBER_ISA_AVX512)
  return _mm512_castps_si512(x);
#elif defined(EMBER_ISA_AVX2)
  return _mm256_castps_si256(x);
#elif defined(EMBER_ISA_SSE42)
  return _mm_castps_si128(x);
#else
  return vreinterpretq_s32_f32(x);
#endif
}
EMBER_INLINE Vec as_float(IntVec x) {
#if defined(EMBER_ISA_AVX512)
  return _mm512_castsi512_ps(x);
#elif defined(EMBER_ISA_AVX2)
  return _mm256_castsi256_ps(x);
#elif defined(EMBER_ISA_SSE42)
  return _mm_castsi128_ps(x);
#else
  return vreinterpretq_f32_s32(x);
#endif
}
/// Converts values: int32 to float, and float to int32 toward zero (undefined outside int32).
EMBER_INLINE Vec to_float(IntVec x) { return xsimd::to_float(x); }
EMBER_INLINE IntVec to_int(Vec x) { return xsimd::to_int(x); }

template <int kBits>
EMBER_INLINE IntVec shift_left(IntVec x) {
  return x << kBits;
}
/// Arithmetic: the sign bit is copied in.
template <int kBits>
EMBER_INLINE IntVec shift_right(IntVec x) {
  return x >> kBits;
}

/// The magnitude of x with the sign of `sign`.
EMBER_INLINE Vec copy_sign(Vec x, Vec sign) {
  const IntVec sign_bit(INT32_MIN);
  return as_float((as_int(sign) & sign_bit) | (as_int(x) & IntVec(INT32_MAX)));
}

/// 2^n for an n whose every lane is in [−126, 127].
EMBER_INLINE Vec exp2_int(IntVec n) { return as_float(shift_left<23>(n + IntVec(127))); }

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
