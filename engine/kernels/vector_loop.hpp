#pragma once

// Loops over contiguous floats whose last vector may be partial. Included only by *.isa.cpp files.

#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// Calls step(first element, lanes) for whole vectors, then once for what is left of n elements.
template <class Step>
EMBER_INLINE void for_each_vector(std::int64_t n, Step&& step) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) step(i, kLanes);
  if (i < n) step(i, n - i);
}

/// The first `lanes` lanes from memory, and to it; a whole vector costs no mask.
EMBER_INLINE Vec get(const float* from, std::int64_t lanes) {
  return lanes == kLanes ? load(from) : load_partial(from, lanes);
}
EMBER_INLINE void put(float* to, Vec x, std::int64_t lanes) {
  if (lanes == kLanes) store(to, x);
  else store_partial(to, x, lanes);
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
