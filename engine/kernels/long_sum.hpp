#pragma once

// Sums over long runs, for *.isa.cpp files: vectors within blocks, blocks in double, so that the error
// does not grow with the length and the order depends on nothing but the length.

#include "simd/lanes.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// The first n lanes, the others `filler`.
EMBER_INLINE Vec keep_first(Vec x, std::int64_t n, float filler) {
#if defined(EMBER_ISA_AVX512)
  return _mm512_mask_blend_ps(detail::first_lanes(n), broadcast(filler), x);
#elif defined(EMBER_ISA_AVX2)
  return _mm256_blendv_ps(broadcast(filler), x, _mm256_castsi256_ps(detail::first_lanes(n)));
#else
  float lanes[kLanes];
  store(lanes, x);
  for (std::int64_t i = n; i < kLanes; ++i) lanes[i] = filler;
  return load(lanes);
#endif
}

/// f(x[0]) + … + f(x[n - 1]), f from Vec to Vec.
template <class F>
EMBER_INLINE double long_sum(const float* x, std::int64_t n, F&& f) {
  constexpr std::int64_t kBlock = 1024;
  double total = 0;
  for (std::int64_t start = 0; start < n; start += kBlock) {
    const std::int64_t end = n - start < kBlock ? n : start + kBlock;
    Vec a = broadcast(0.0F), b = a, c = a, d = a;
    std::int64_t i = start;
    for (; i + 4 * kLanes <= end; i += 4 * kLanes) {
      a = a + f(load(x + i));
      b = b + f(load(x + i + kLanes));
      c = c + f(load(x + i + 2 * kLanes));
      d = d + f(load(x + i + 3 * kLanes));
    }
    for (; i + kLanes <= end; i += kLanes) a = a + f(load(x + i));
    if (i < end) b = b + keep_first(f(load_partial(x + i, end - i)), end - i, 0.0F);
    total += static_cast<double>(sum_lanes((a + b) + (c + d)));
  }
  return total;
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
