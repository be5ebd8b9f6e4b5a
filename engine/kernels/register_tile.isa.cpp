#include "kernels/register_tile.hpp"

#include "kernels/tile_epilogue.hpp"
#include "kernels/tile_sums.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// What positions outside the input read as.
constexpr float kZeros[kBlock] = {};

EMBER_INLINE std::int64_t column_offset(const TileWork& w, std::int64_t vector) {
  return vector / kVectorsPerBlock * w.c_block + vector % kVectorsPerBlock * kLanes;
}

/// The epilogue on a stored tile that is still in L1.
void finish_tile(const TileWork& w, const TileEpilogue& epilogue, std::int64_t rows, std::int64_t vectors) {
  for (std::int64_t v = 0; v < vectors; ++v) {
    const std::int64_t column = column_offset(w, v);
    finish_stored(epilogue, w.c + column, w.residual == nullptr ? nullptr : w.residual + column, rows, kLanes,
                  w.c_row, w.channel + v * kLanes);
  }
}

/// Where the weights to fetch are, step by step.
struct Ahead {
  const float* at;
  std::int64_t step;
  std::int64_t half;
  bool follows;

  EMBER_INLINE explicit Ahead(const TileWork& w)
      : at(w.ahead == nullptr ? w.b + kPrefetchRows * kTileColumns : w.ahead),
        step(w.ahead_step),
        half(w.ahead_step / 2),
        follows(w.ahead == nullptr) {}
  /// Weights a few steps ahead follow b, wherever it jumps.
  EMBER_INLINE void follow(const float* b) { at = follows ? b + kPrefetchRows * kTileColumns : at; }
  template <int kVectors>
  EMBER_INLINE void fetch() {
    __builtin_prefetch(at);
    if constexpr (kVectors * kLanes > 16) __builtin_prefetch(at + half);
    at += step;
  }
};

template <int kRows, int kVectors>
EMBER_INLINE void add_listed(Vec (&sums)[kRows][kVectors], const TileWork& w) {
  const std::int64_t a_row = w.a_row;
  const float* b = w.b;
  Ahead ahead(w);
#pragma GCC unroll 1
  for (std::int64_t k = 0; k < w.depth; ++k, b += kTileColumns) {
    const float* a = w.a + w.offsets[k];
    ahead.fetch<kVectors>();
    add_step(sums, b, [&](int r) { return a[r * a_row]; });
  }
}

template <int kRows, int kVectors, TileWalk kWalk>
EMBER_INLINE void add_levels(Vec (&sums)[kRows][kVectors], const TileWork& w) {
  constexpr bool kBordered = kWalk == TileWalk::Bordered;
  const std::int64_t depth = w.depth;
  const std::int64_t a_row = kWalk == TileWalk::Neighbours ? kBlock : w.a_row;
  const std::int64_t a_step = kWalk == TileWalk::Neighbours ? 1 : w.a_step;
  Ahead ahead(w);
  const bool fetch_ahead = w.fetch_ahead;
  const TileLevel* level = w.levels;
  // Pointers that walk, rather than indices that multiply: the inner loop is
  // short in a convolution.
  const float* a0 = w.a;
  const float* b0 = w.b;
  for (std::int64_t i0 = level[0].count; i0 > 0; --i0, a0 += level[0].a_step, b0 += level[0].b_step) {
    const float* a1 = a0;
    const float* b1 = b0;
    for (std::int64_t i1 = level[1].count; i1 > 0; --i1, a1 += level[1].a_step, b1 += level[1].b_step) {
      const float* a2 = a1;
      const float* b2 = b1;
      for (std::int64_t i2 = level[2].count; i2 > 0; --i2, a2 += level[2].a_step, b2 += level[2].b_step) {
        const float* a3 = a2;
        const float* b3 = b2;
        std::int64_t x = w.x;
        const std::int64_t inner_a = level[3].a_step;
        const std::int64_t inner_b = level[3].b_step;
        for (std::int64_t i3 = level[3].count; i3 > 0; --i3, a3 += inner_a, b3 += inner_b, x += w.x_tap) {
          const float* a = a3;
          const float* b = b3;
          ahead.follow(b);
          const float* rows[kRows];
          if constexpr (kBordered) {
#pragma GCC unroll 16
            for (int r = 0; r < kRows; ++r) {
              const std::int64_t at = x + r * w.x_row;
              const bool inside = static_cast<std::uint64_t>(at) < static_cast<std::uint64_t>(w.x_limit);
              rows[r] = inside ? a + at * w.x_pixel : kZeros;
            }
          }
          if (!kBordered && fetch_ahead) {
#pragma GCC unroll 32
            for (int r = 0; r < kRows; ++r) __builtin_prefetch(a + (kRows + r) * a_row);
          }
#pragma GCC unroll 1
          for (std::int64_t k = 0; k < depth; ++k) {
            ahead.fetch<kVectors>();
            add_step(sums, b, [&](int r) { return kBordered ? rows[r][k] : a[r * a_row]; });
            b += kTileColumns;
            if constexpr (!kBordered) a += a_step;
          }
        }
      }
    }
  }
}

template <int kRows, int kVectors, TileWalk kWalk>
void tile(const TileWork& w) {
  const auto output_at = [&](int r, int v) { return w.c + r * w.c_row + column_offset(w, v); };
  const auto residual_at = [&](int r, int v) { return w.residual + r * w.c_row + column_offset(w, v); };
  Vec sums[kRows][kVectors];
  start_sums(sums, w.bias, w.resume, output_at);
  if constexpr (kWalk == TileWalk::Listed) add_listed(sums, w);
  else add_levels<kRows, kVectors, kWalk>(sums, w);
  const TileEpilogue epilogue(*w.before, *w.after);
  const bool finish_here = !w.partial && epilogue.in_registers;
  if (w.counted != nullptr) w.counted->apply_tile(sums, w.residual != nullptr, residual_at, w.channel);
  else if (finish_here) epilogue.apply_tile(sums, w.residual != nullptr, residual_at);
  store_sums(sums, output_at);
  if (!w.partial && !finish_here && w.counted == nullptr) finish_tile(w, epilogue, kRows, kVectors);
}

/// The most rows of a tile.
template <int kVectors, TileWalk kWalk>
inline constexpr int kMostRows =
    static_cast<int>(kVectors == 1 && kWalk == TileWalk::Neighbours ? kNarrowTileRows : kTileRows);

template <int kVectors, TileWalk kWalk>
struct TileOf {
  template <int kRows>
  struct Rows {
    static constexpr TileFunction run = tile<kRows, kVectors, kWalk>;
  };
};
template <int kVectors, TileWalk kWalk>
constexpr RowTable<TileFunction, TileOf<kVectors, kWalk>::template Rows, kMostRows<kVectors, kWalk>> kTiles;

template <TileWalk kWalk>
TileFunction of_walk(std::int64_t rows, std::int64_t vectors) {
  return vectors == 1 ? kTiles<1, kWalk>[rows] : kTiles<kTileVectors, kWalk>[rows];
}

}  // namespace

TileFunction register_tile(std::int64_t rows, std::int64_t vectors, TileWalk walk) {
  switch (walk) {
    case TileWalk::Levels: return of_walk<TileWalk::Levels>(rows, vectors);
    case TileWalk::Neighbours: return of_walk<TileWalk::Neighbours>(rows, vectors);
    case TileWalk::Bordered: return of_walk<TileWalk::Bordered>(rows, vectors);
    case TileWalk::Listed: return of_walk<TileWalk::Listed>(rows, vectors);
  }
  return nullptr;
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
