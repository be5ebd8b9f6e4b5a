#include "kernels/few_rows.hpp"

#include "kernels/gemm.hpp"
#include "kernels/tile_epilogue.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

template <int kRows, int kTiles, bool kChosen>
void few(const TileWork& w, std::int64_t b_tile, const std::int32_t* steps, std::int64_t columns) {
  constexpr int kVectors = kTiles * kTileVectors;
  Vec sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    const Vec bias = w.bias != nullptr ? load(w.bias + v * kLanes) : broadcast(0.0F);
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) sums[r][v] = w.resume ? load(w.c + r * w.c_row + v * kLanes) : bias;
  }
  const float* a = w.a;
  const float* b = w.b;
#pragma GCC unroll 1
  for (std::int64_t i = 0; i < w.depth; ++i) {
    if constexpr (kChosen) {
      // Rows of weights far apart are nothing the hardware foresees.
      const float* ahead = w.b + std::int64_t{steps[i + GemmKernels::kStepPadding]} * kTileColumns;
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) __builtin_prefetch(ahead + t * b_tile);
      a = w.a + steps[i];
      b = w.b + std::int64_t{steps[i]} * kTileColumns;
    }
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      const Vec value = broadcast(a[r * w.a_row]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        const Vec column = load(b + v / kTileVectors * b_tile + v % kTileVectors * kLanes);
        sums[r][v] = fmadd(value, column, sums[r][v]);
      }
    }
    if constexpr (!kChosen) {
      ++a;
      b += kTileColumns;
    }
  }
  const TileEpilogue epilogue(*w.before, *w.after);
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const std::int64_t offset = r * w.c_row + v * kLanes;
      const float* residual = w.residual == nullptr ? nullptr : w.residual + offset;
      const Vec sum = sums[r][v] + broadcast(0.0F);
      store(w.c + offset, epilogue.in_registers ? epilogue.apply(sum, residual) : sum);
    }
  }
  if (epilogue.in_registers) return;
  for (std::int64_t i = 0; i < columns; i += kLanes) {
    finish_stored(epilogue, w.c + i, w.residual == nullptr ? nullptr : w.residual + i, kRows, w.c_row,
                  w.channel + i);
  }
}

using FewFunction = void (*)(const TileWork&, std::int64_t, const std::int32_t*, std::int64_t);

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

void few_rows(const TileWork& work, std::int64_t rows, std::int64_t tiles, std::int64_t b_tile,
              const std::int32_t* steps, std::int64_t columns) {
  (steps == nullptr ? few_of<false>(rows, tiles) : few_of<true>(rows, tiles))(work, b_tile, steps, columns);
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
