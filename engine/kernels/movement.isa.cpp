#include "kernels/movement.hpp"

#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

constexpr std::int64_t kVectorBytes = kLanes * 4;

EMBER_INLINE void copy_vector(const char* from, char* to) {
  store(reinterpret_cast<float*>(to), load(reinterpret_cast<const float*>(from)));
}

/// At least one vector. Not memcpy: on some processors the string move behind it drops to a tenth of its
/// speed when source and target differ in alignment, as they do in slices and concatenations.
EMBER_INLINE void copy_run(const char* from, char* to, std::int64_t bytes) {
  std::int64_t at = 0;
  for (; at + 4 * kVectorBytes <= bytes; at += 4 * kVectorBytes) {
    copy_vector(from + at, to + at);
    copy_vector(from + at + kVectorBytes, to + at + kVectorBytes);
    copy_vector(from + at + 2 * kVectorBytes, to + at + 2 * kVectorBytes);
    copy_vector(from + at + 3 * kVectorBytes, to + at + 3 * kVectorBytes);
  }
  for (; at + kVectorBytes <= bytes; at += kVectorBytes) copy_vector(from + at, to + at);
  if (at < bytes) copy_vector(from + bytes - kVectorBytes, to + bytes - kVectorBytes);
}

template <class Word>
void copy(const void* from, void* to, const Plane& p) {
  const auto* source = static_cast<const Word*>(from);
  auto* target = static_cast<Word*>(to);
  const std::int64_t bytes = p.columns * static_cast<std::int64_t>(sizeof(Word));
  for (std::int64_t r = 0; r < p.rows; ++r, source += p.from_row, target += p.to_row) {
    if (bytes >= kVectorBytes) {
      copy_run(reinterpret_cast<const char*>(source), reinterpret_cast<char*>(target), bytes);
    } else {
      for (std::int64_t c = 0; c < p.columns; ++c) target[c] = source[c];
    }
  }
}

template <class Word>
void fill(const void* from, void* to, const Plane& p) {
  const auto* source = static_cast<const Word*>(from);
  auto* target = static_cast<Word*>(to);
  for (std::int64_t r = 0; r < p.rows; ++r, source += p.from_row, target += p.to_row) {
    const Word value = *source;
    for (std::int64_t c = 0; c < p.columns; ++c) target[c] = value;
  }
}

template <class Word>
void any(const void* from, void* to, const Plane& p) {
  const auto* source = static_cast<const Word*>(from);
  auto* target = static_cast<Word*>(to);
  for (std::int64_t r = 0; r < p.rows; ++r, source += p.from_row, target += p.to_row) {
    if (p.from_column == 2 && p.to_column == 1) {
      // Every other element, which a compiler that knows it picks out of whole vectors.
      for (std::int64_t c = 0; c < p.columns; ++c) target[c] = source[2 * c];
    } else {
      for (std::int64_t c = 0; c < p.columns; ++c) target[c * p.to_column] = source[c * p.from_column];
    }
  }
}

// ---- transposes: to[r * to_row + c] = from[c * from_column + r], in tiles that use whole cache lines

template <class Word>
EMBER_INLINE void transpose_part(const Word* from, Word* to, const Plane& p, std::int64_t rows,
                                 std::int64_t columns) {
  for (std::int64_t c = 0; c < columns; ++c) {
    for (std::int64_t r = 0; r < rows; ++r) to[r * p.to_row + c] = from[c * p.from_column + r];
  }
}

/// One tile of kTile x kTile elements.
template <class Word>
struct Tile {
  static constexpr std::int64_t kTile = 8;
  EMBER_INLINE static void transpose(const Word* from, Word* to, const Plane& p) {
    Word held[kTile][kTile];
    for (std::int64_t c = 0; c < kTile; ++c) {
      for (std::int64_t r = 0; r < kTile; ++r) held[r][c] = from[c * p.from_column + r];
    }
    for (std::int64_t r = 0; r < kTile; ++r) {
      for (std::int64_t c = 0; c < kTile; ++c) to[r * p.to_row + c] = held[r][c];
    }
  }
};

#if defined(EMBER_ISA_AVX2) || defined(EMBER_ISA_AVX512)

template <>
struct Tile<std::uint32_t> {
  static constexpr std::int64_t kTile = 8;
  EMBER_INLINE static void transpose(const std::uint32_t* from, std::uint32_t* to, const Plane& p) {
    const auto* f = reinterpret_cast<const float*>(from);
    auto* t = reinterpret_cast<float*>(to);
    __m256 in[8];
    __m256 half[8];
    // Rows c and c + 4 of one half share a vector, so that no shuffle has to cross the halves.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const float* low = f + c * p.from_column;
      const float* high = f + (c + 4) * p.from_column;
      in[c] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
      in[c + 4] =
          _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low + 4)), _mm_loadu_ps(high + 4), 1);
    }
#pragma GCC unroll 2
    for (int h = 0; h < 8; h += 4) {
      half[h] = _mm256_unpacklo_ps(in[h], in[h + 1]);
      half[h + 1] = _mm256_unpackhi_ps(in[h], in[h + 1]);
      half[h + 2] = _mm256_unpacklo_ps(in[h + 2], in[h + 3]);
      half[h + 3] = _mm256_unpackhi_ps(in[h + 2], in[h + 3]);
      _mm256_storeu_ps(t + h * p.to_row, _mm256_shuffle_ps(half[h], half[h + 2], 0x44));
      _mm256_storeu_ps(t + (h + 1) * p.to_row, _mm256_shuffle_ps(half[h], half[h + 2], 0xEE));
      _mm256_storeu_ps(t + (h + 2) * p.to_row, _mm256_shuffle_ps(half[h + 1], half[h + 3], 0x44));
      _mm256_storeu_ps(t + (h + 3) * p.to_row, _mm256_shuffle_ps(half[h + 1], half[h + 3], 0xEE));
    }
  }
};

#elif defined(EMBER_ISA_SSE42)

template <>
struct Tile<std::uint32_t> {
  static constexpr std::int64_t kTile = 4;
  EMBER_INLINE static void transpose(const std::uint32_t* from, std::uint32_t* to, const Plane& p) {
    const auto* f = reinterpret_cast<const float*>(from);
    auto* t = reinterpret_cast<float*>(to);
    const __m128 a = _mm_loadu_ps(f);
    const __m128 b = _mm_loadu_ps(f + p.from_column);
    const __m128 c = _mm_loadu_ps(f + 2 * p.from_column);
    const __m128 d = _mm_loadu_ps(f + 3 * p.from_column);
    const __m128 ab_low = _mm_unpacklo_ps(a, b);
    const __m128 cd_low = _mm_unpacklo_ps(c, d);
    const __m128 ab_high = _mm_unpackhi_ps(a, b);
    const __m128 cd_high = _mm_unpackhi_ps(c, d);
    _mm_storeu_ps(t, _mm_movelh_ps(ab_low, cd_low));
    _mm_storeu_ps(t + p.to_row, _mm_movehl_ps(cd_low, ab_low));
    _mm_storeu_ps(t + 2 * p.to_row, _mm_movelh_ps(ab_high, cd_high));
    _mm_storeu_ps(t + 3 * p.to_row, _mm_movehl_ps(cd_high, ab_high));
  }
};

#endif

template <class Word>
void transpose(const void* from, void* to, const Plane& p) {
  constexpr std::int64_t kTile = Tile<Word>::kTile;
  constexpr std::int64_t kGroup = 16;  // columns whose targets fill a cache line of 32-bit elements
  const auto* source = static_cast<const Word*>(from);
  auto* target = static_cast<Word*>(to);
  for (std::int64_t c0 = 0; c0 < p.columns; c0 += kGroup) {
    const std::int64_t c1 = c0 + kGroup < p.columns ? c0 + kGroup : p.columns;
    for (std::int64_t r = 0; r < p.rows; r += kTile) {
      const std::int64_t rows = r + kTile < p.rows ? kTile : p.rows - r;
      for (std::int64_t c = c0; c < c1; c += kTile) {
        const std::int64_t columns = c + kTile < c1 ? kTile : c1 - c;
        const Word* tile_from = source + c * p.from_column + r;
        Word* tile_to = target + r * p.to_row + c;
        if (rows == kTile && columns == kTile) Tile<Word>::transpose(tile_from, tile_to, p);
        else transpose_part(tile_from, tile_to, p, rows, columns);
      }
    }
  }
}

}  // namespace

extern const MovementKernels kMovement;
const MovementKernels kMovement = {
    .copy = {copy<std::uint8_t>, copy<std::uint16_t>, copy<std::uint32_t>, copy<std::uint64_t>},
    .fill = {fill<std::uint8_t>, fill<std::uint16_t>, fill<std::uint32_t>, fill<std::uint64_t>},
    .transpose = {transpose<std::uint8_t>, transpose<std::uint16_t>, transpose<std::uint32_t>,
                  transpose<std::uint64_t>},
    .any = {any<std::uint8_t>, any<std::uint16_t>, any<std::uint32_t>, any<std::uint64_t>},
};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
