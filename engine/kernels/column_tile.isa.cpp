#include "kernels/column_tile.hpp"

#include "kernels/tile_epilogue.hpp"
#include "kernels/tile_sums.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// Fetches tiles of a matrix with rows `stride` floats apart.
template <int kRows>
EMBER_INLINE void fetch_tile(const float* first, std::int64_t stride) {
  constexpr std::int64_t kLine = 16;
#pragma GCC unroll 32
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < kTileColumns; i += kLine) __builtin_prefetch(first + r * stride + i, 1);
  }
}

/// Weights needed after these, to be brought as far as L2: `step` floats with each step.
struct Next {
  const float* at;
  std::int64_t step;
};

/// `tiles` times kRows rows from row `first` on. All tiles in one function, so that the next one's sums start
/// while the last one's are stored. kNeighbours: rows lie kBlock floats apart on both sides.
template <int kRows, int kVectors, bool kNeighbours>
void run_tiles(const ColumnTile& t, std::int64_t first, std::int64_t tiles, Next next) {
  const std::int64_t depth = t.depth;
  const std::int64_t lanes = t.lanes;
  const std::int64_t block_step = t.block_step;
  const std::int64_t input_row = kNeighbours ? kBlock : t.input_row;
  const std::int64_t out_row = kNeighbours ? kBlock : t.out_row;
  std::int64_t column[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) column[v] = t.column(v);
  const float* input = t.input + first * input_row;
  float* output = t.output + first * out_row;
  const float* residual = t.residual == nullptr ? nullptr : t.residual + first * out_row;
  for (; tiles > 0; --tiles, input += kRows * input_row) {
    const auto output_at = [&](int r, int v) { return output + column[v] + r * out_row; };
    const auto residual_at = [&](int r, int v) { return residual + column[v] + r * out_row; };
    if constexpr (!kNeighbours) {
      // Rows of a matrix are too short a run for the hardware to foresee.
      fetch_tile<kRows>(output, out_row);
      if (residual != nullptr) fetch_tile<kRows>(residual, out_row);
    }
    Vec sums[kRows][kVectors];
    start_sums(sums, t.bias, t.resume, output_at);
    const float* block = input;
    const float* weights = t.weights;
#pragma GCC unroll 1
    for (std::int64_t left = depth; left > 0; left -= lanes, block += block_step) {
      if (kNeighbours && t.fetch_ahead) {
#pragma GCC unroll 32
        for (int r = 0; r < kRows; ++r) __builtin_prefetch(block + (kRows + r) * input_row);
      }
      // Two pointers and the distances of half of the rows are as many registers as there are.
      constexpr int kHalf = (kRows + 1) / 2;
      const float* low = block;
      const float* high = block + kHalf * input_row;
      const float* end = block + smaller(left, lanes);
#pragma GCC unroll 1
      for (; low != end; ++low, ++high, weights += kTileColumns, next.at += next.step) {
        __builtin_prefetch(weights + kPrefetchRows * kTileColumns);
        if constexpr (kVectors * kLanes > 16)
          __builtin_prefetch(weights + kPrefetchRows * kTileColumns + kTileColumns / 2);
        __builtin_prefetch(next.at, 0, 2);
        add_step(sums, weights,
                 [&](int r) { return r < kHalf ? low[r * input_row] : high[(r - kHalf) * input_row]; });
      }
    }
    if (t.positive_zero) make_zeros_positive(sums);
    if (t.counted != nullptr) t.counted->apply_tile(sums, residual != nullptr, residual_at, t.channel);
    else if (t.epilogue != nullptr) t.epilogue->apply_tile(sums, residual != nullptr, residual_at);
    store_sums(sums, output_at);
    output += kRows * out_row;
    if (residual != nullptr) residual += kRows * out_row;
  }
}

using RunTiles = void (*)(const ColumnTile&, std::int64_t first, std::int64_t tiles, Next);

template <int kVectors, bool kNeighbours>
struct TilesOf {
  template <int kRows>
  struct Rows {
    static constexpr RunTiles run = run_tiles<kRows, kVectors, kNeighbours>;
  };
};
template <int kVectors, bool kNeighbours>
inline constexpr int kMostRows = static_cast<int>(kVectors == 1 && kNeighbours ? kNarrowTileRows : kTileRows);
template <int kVectors, bool kNeighbours>
constexpr RowTable<RunTiles, TilesOf<kVectors, kNeighbours>::template Rows, kMostRows<kVectors, kNeighbours>>
    kRunTiles;

template <int kVectors, bool kNeighbours>
void run_rows(const ColumnTile& t, std::int64_t begin, std::int64_t end) {
  const std::int64_t count = end - begin;
  const std::int64_t tiles =
      (count + kMostRows<kVectors, kNeighbours> - 1) / kMostRows<kVectors, kNeighbours>;
  const std::int64_t rows = count / tiles;
  const std::int64_t higher = count % tiles;
  // Tiles share the fetching of what follows theirs. A single one is no faster than its own stream arrives,
  // and of many each would fetch next to nothing.
  const bool share = t.next != nullptr && tiles > 1 && tiles <= kTileColumns;
  Next next = share ? Next{t.next, kTileColumns / tiles} : Next{t.weights, 0};
  if (higher > 0) kRunTiles<kVectors, kNeighbours>[rows + 1](t, begin, higher, next);
  next.at += higher * t.depth * next.step;
  kRunTiles<kVectors, kNeighbours>[rows](t, begin + higher * (rows + 1), tiles - higher, next);
}

}  // namespace

void run_column(const ColumnTile& tile, std::int64_t vectors, std::int64_t begin, std::int64_t end) {
  const bool neighbours = tile.input_row == kBlock && tile.out_row == kBlock;
  if (vectors == 1) (neighbours ? run_rows<1, true> : run_rows<1, false>)(tile, begin, end);
  else (neighbours ? run_rows<kTileVectors, true> : run_rows<kTileVectors, false>)(tile, begin, end);
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
