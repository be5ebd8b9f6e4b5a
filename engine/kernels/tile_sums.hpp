#pragma once

// What every tile of sums in registers does: start, add one step after the other, end.
// Included only by *.isa.cpp files.

#include "kernels/register_tile.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// How many rows of packed weights ahead to fetch: hides L2 and L3 behind a few hundred cycles of sums.
inline constexpr std::int64_t kPrefetchRows = 48;

/// Sums as they start: from the bias of each column (null: 0), or with `resume` from what at(row, vector)
/// points at.
template <int kRows, int kVectors, class At>
EMBER_INLINE void start_sums(Vec (&sums)[kRows][kVectors], const float* bias, bool resume, At&& at) {
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    const Vec start = bias != nullptr ? load(bias + v * kLanes) : broadcast(0.0F);
#pragma GCC unroll 32
    for (int r = 0; r < kRows; ++r) sums[r][v] = start;
  }
  if (!resume) return;
#pragma GCC unroll 32
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sums[r][v] = load(at(r, v));
  }
}

/// One step: sums += a of each row × one row of packed weights.
template <int kRows, int kVectors, class A>
EMBER_INLINE void add_step(Vec (&sums)[kRows][kVectors], const float* weights, A&& a_of_row) {
  Vec columns[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) columns[v] = load(weights + v * kLanes);
#pragma GCC unroll 32
  for (int r = 0; r < kRows; ++r) {
    const Vec value = broadcast(a_of_row(r));
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sums[r][v] = fmadd(value, columns[v], sums[r][v]);
  }
}

/// Sums of -0 become +0.
template <int kRows, int kVectors>
EMBER_INLINE void make_zeros_positive(Vec (&sums)[kRows][kVectors]) {
#pragma GCC unroll 32
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sums[r][v] = sums[r][v] + broadcast(0.0F);
  }
}

template <int kRows, int kVectors, class At>
EMBER_INLINE void store_sums(const Vec (&sums)[kRows][kVectors], At&& at) {
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 32
    for (int r = 0; r < kRows; ++r) store(at(r, v), sums[r][v]);
  }
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
