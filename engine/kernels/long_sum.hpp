#pragma once

// Sums over long runs, for *.isa.cpp files: vectors within blocks, blocks in double, so that the error
// does not grow with the length and the order depends on nothing but the length.

#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// The first n lanes, the others `filler`.
EMBER_INLINE Vec keep_first(Vec x, std::int64_t n, float filler) {
  float lanes[kLanes];
  store(lanes, x);
  for (std::int64_t i = n; i < kLanes; ++i) lanes[i] = filler;
  return load(lanes);
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
    total += static_cast<double>(horizontal_sum((a + b) + (c + d)));
  }
  return total;
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
