#pragma once

// Part of the facade over xsimd, see vec.hpp: counting lanes.

#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// count + 1 in the lanes of the mask.
EMBER_INLINE IntVec count_if(Mask condition, IntVec count) {
#if defined(EMBER_ISA_AVX512)
  return _mm512_mask_sub_epi32(count, condition, count, _mm512_set1_epi32(-1));
#elif defined(EMBER_ISA_AVX2)
  return _mm256_sub_epi32(count, _mm256_castps_si256(condition));
#elif defined(EMBER_ISA_SSE42)
  return _mm_sub_epi32(count, _mm_castps_si128(condition));
#else
  return count + as_int(select(condition, as_float(IntVec(1)), broadcast(0.0F)));
#endif
}

/// An open interval of floats that are not negative. Those have the order of their bits, so that one
/// comparison tells whether a float lies in it, where two would be in each other's way: on x86 only one unit
/// compares.
struct FloatRange {
  IntVec offset, limit;

  /// 0 <= above < below, which may be infinite.
  EMBER_INLINE FloatRange(float above, float below)
      : offset(static_cast<std::int32_t>(0x80000000U - (bits(above) + 1U))),
        limit(static_cast<std::int32_t>(bits(below) - bits(above) - 1U + 0x80000000U)) {}

  static EMBER_INLINE std::uint32_t bits(float x) {
    std::uint32_t result = 0;
    __builtin_memcpy(&result, &x, sizeof result);
    return result & 0x7fffffffU;
  }
};

/// count + 1 in the lanes that lie in the range: not those of a NaN or an infinity.
EMBER_INLINE IntVec count_in(const FloatRange& range, Vec x, IntVec count) {
  const IntVec place = as_int(x) + range.offset;
#if defined(EMBER_ISA_AVX512)
  return _mm512_mask_sub_epi32(count, _mm512_cmpgt_epi32_mask(range.limit, place), count,
                               _mm512_set1_epi32(-1));
#elif defined(EMBER_ISA_AVX2)
  return _mm256_sub_epi32(count, _mm256_cmpgt_epi32(range.limit, place));
#elif defined(EMBER_ISA_SSE42)
  return _mm_sub_epi32(count, _mm_cmpgt_epi32(range.limit, place));
#else
  return count + select(range.limit > place, IntVec(1), IntVec(0));
#endif
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
