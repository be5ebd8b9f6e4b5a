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

/// count + 1 in the lanes where above < x < below.
EMBER_INLINE IntVec count_between(Vec x, Vec above, Vec below, IntVec count) {
#if defined(EMBER_ISA_AVX512)
  const __mmask16 high = _mm512_cmp_ps_mask(x, above, _CMP_GT_OQ);
  return count_if(Mask(_mm512_mask_cmp_ps_mask(high, x, below, _CMP_LT_OQ)), count);
#else
  return count_if((x > above) & (x < below), count);
#endif
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
