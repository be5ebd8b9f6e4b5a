#include "kernels/few_rows.hpp"

#include "kernels/gemm.hpp"
#include "kernels/tile_epilogue.hpp"
#include "kernels/tile_sums.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

template <int kRows, int kTiles, bool kChosen>
void few(const ColumnTile& t, std::int64_t weights_tile, const std::int32_t* steps) {
  constexpr int kVectors = kTiles * kTileVectors;
  const auto output_at = [&](int r, int v) { return t.output + r * t.out_row + v * kLanes; };
  Vec sums[kRows][kVectors];
  start_sums(sums, t.bias, t.resume, output_at);
  const float* a = t.input;
  const float* b = t.weights;
#pragma GCC unroll 1
  for (std::int64_t i = 0; i < t.depth; ++i) {
    if constexpr (kChosen) {
      // Rows of weights far apart are nothing the hardware foresees.
      const float* ahead = t.weights + std::int64_t{steps[i + GemmKernels::kStepPadding]} * kTileColumns;
#pragma GCC unroll 4
      for (int tile = 0; tile < kTiles; ++tile) __builtin_prefetch(ahead + tile * weights_tile);
      a = t.input + steps[i];
      b = t.weights + std::int64_t{steps[i]} * kTileColumns;
    }
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      const Vec value = broadcast(a[r * t.input_row]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        const Vec column = load(b + v / kTileVectors * weights_tile + v % kTileVectors * kLanes);
        sums[r][v] = fmadd(value, column, sums[r][v]);
      }
    }
    if constexpr (!kChosen) {
      ++a;
      b += kTileColumns;
    }
  }
  make_zeros_positive(sums);
  const auto residual_at = [&](int r, int v) { return t.residual + r * t.out_row + v * kLanes; };
  if (t.epilogue != nullptr) t.epilogue->apply_tile(sums, t.residual != nullptr, residual_at);
  store_sums(sums, output_at);
}

using FewFunction = void (*)(const ColumnTile&, std::int64_t, const std::int32_t*);

template <bool kChosen>
FewFunction few_of(std::int64_t rows, std::int64_t tiles) {
  const bool one = rows == 1;
  switch (tiles) {
    case 1: return one ? few<1, 1, kChosen> : few<2, 1, kChosen>;
    case 2: return one ? few<1, 2, kChosen> : few<2, 2, kChosen>;
#if defined(EMBER_ISA_SSE42)
    case 3: return one ? few<1, 3, kChosen> : nullptr;
#else
    case 3: return one ? few<1, 3, kChosen> : few<2, 3, kChosen>;
#endif
    case 4: return one ? few<1, 4, kChosen> : nullptr;
    default: return nullptr;
  }
}

}  // namespace

void few_rows(const ColumnTile& work, std::int64_t rows, std::int64_t tiles, std::int64_t weights_tile,
              const std::int32_t* steps) {
  (steps == nullptr ? few_of<false>(rows, tiles) : few_of<true>(rows, tiles))(work, weights_tile, steps);
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
