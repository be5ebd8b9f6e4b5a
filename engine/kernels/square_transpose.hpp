#pragma once

// Transposes of small squares in registers. Included only by *.isa.cpp files.

#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

#if defined(EMBER_ISA_AVX512) || defined(EMBER_ISA_AVX2)

inline constexpr std::int64_t kSquare = 8;

/// to[j · to_row + i] = from[i · from_row + j] for i, j below kSquare.
EMBER_INLINE void transpose_square(const float* from, std::int64_t from_row, float* to, std::int64_t to_row) {
  __m256 r[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(from + i * from_row);
  __m256 pairs[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  __m256 fours[8];
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    fours[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    fours[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xEE);
    fours[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    fours[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * to_row, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_row, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31));
  }
}

#else

inline constexpr std::int64_t kSquare = 4;

EMBER_INLINE void transpose_square(const float* from, std::int64_t from_row, float* to, std::int64_t to_row) {
#if defined(EMBER_ISA_SSE42)
  __m128 r0 = _mm_loadu_ps(from);
  __m128 r1 = _mm_loadu_ps(from + from_row);
  __m128 r2 = _mm_loadu_ps(from + 2 * from_row);
  __m128 r3 = _mm_loadu_ps(from + 3 * from_row);
  _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
  _mm_storeu_ps(to, r0);
  _mm_storeu_ps(to + to_row, r1);
  _mm_storeu_ps(to + 2 * to_row, r2);
  _mm_storeu_ps(to + 3 * to_row, r3);
#else
  for (std::int64_t i = 0; i < kSquare; ++i) {
    for (std::int64_t j = 0; j < kSquare; ++j) to[j * to_row + i] = from[i * from_row + j];
  }
#endif
}

#endif

/// The same for a rows × columns matrix of any size.
inline void transpose_matrix(const float* from, std::int64_t from_row, std::int64_t rows,
                             std::int64_t columns, float* to, std::int64_t to_row) {
  const std::int64_t whole_rows = rows / kSquare * kSquare;
  const std::int64_t whole_columns = columns / kSquare * kSquare;
  for (std::int64_t j = 0; j < whole_columns; j += kSquare) {
    for (std::int64_t i = 0; i < whole_rows; i += kSquare)
      transpose_square(from + i * from_row + j, from_row, to + j * to_row + i, to_row);
  }
  for (std::int64_t j = 0; j < columns; ++j) {
    for (std::int64_t i = j < whole_columns ? whole_rows : 0; i < rows; ++i)
      to[j * to_row + i] = from[i * from_row + j];
  }
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
