#pragma once

// Products of few rows: bound by how fast weights arrive. Included only by *.isa.cpp files.

#include "kernels/column_tile.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// Tiles of columns that few_rows takes at once.
EMBER_INLINE constexpr std::int64_t few_rows_tiles(std::int64_t rows) {
#if defined(EMBER_ISA_SSE42)
  return rows == 1 ? 4 : 2;
#else
  return rows == 1 ? 4 : 3;
#endif
}

/// One or two rows times `tiles` (1 to few_rows_tiles(rows)) neighbouring tiles of columns, their weights
/// `weights_tile` floats apart: enough sums side by side to keep the multipliers busy while weights stream
/// by, and enough streams to keep the memory busy. With `steps`, the depth's steps are these.
void few_rows(const ColumnTile& work, std::int64_t rows, std::int64_t tiles, std::int64_t weights_tile,
              const std::int32_t* steps);

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
