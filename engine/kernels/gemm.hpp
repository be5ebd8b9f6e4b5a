#pragma once

#include <cstdint>

#include "kernels/product.hpp"

namespace ember::kernels {

/// c[m × n] = epilogue(a[m × k] · b[k × n] + bias). Rows of a and c are a_row and c_row floats apart;
/// b is packed: [ceil(n / tile.columns)][k][tile.columns], zeros beyond n.
struct GemmJob {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  const float* a = nullptr;
  std::int64_t a_row = 0;
  const float* b = nullptr;
  float* c = nullptr;
  std::int64_t c_row = 0;
  bool resume = false;  ///< c holds what the products are added to, instead of the bias
  ProductEpilogue epilogue;
  /// The only steps of k to take, ascending (see nonzero()), for at most kFewRows rows at a time; nullptr:
  /// all.
  const std::int32_t* steps = nullptr;
  std::int64_t step_count = 0;
};

/// A matrix to pack: element (row, column) is scale · b[row · row_step + column · column_step].
struct PackSource {
  const float* b = nullptr;
  std::int64_t row_step = 0;
  std::int64_t column_step = 1;
  float scale = 1.0F;
};

struct GemmKernels {
  static constexpr std::int64_t kFewRows = 4;
  /// Entries of a list of steps beyond step_count, which are read.
  static constexpr std::int64_t kStepPadding = 16;

  ProductTile tile;
  /// Rows [row_begin, row_end) of the column tiles [tile_begin, tile_end). Every element is summed in
  /// the order of k whatever the ranges, so that results do not depend on how a product is split; a sum of −0
  /// becomes +0, so that steps at which a is zero and b finite may be left out without a trace.
  void (*run)(const GemmJob& job, std::int64_t row_begin, std::int64_t row_end, std::int64_t tile_begin,
              std::int64_t tile_end);
  /// Lists the steps of k at which any of `rows` rows of a, a_row apart, is not zero (NaN is not): count +
  /// kStepPadding entries. Returns their count, or -1 and no list when there are more than `most`.
  std::int64_t (*nonzero)(const float* a, std::int64_t rows, std::int64_t a_row, std::int64_t k,
                          std::int64_t most, std::int32_t* steps);
  /// Packs column tiles [tile_begin, tile_end) of a k × n matrix.
  void (*pack)(const PackSource& source, std::int64_t k, std::int64_t n, float* packed,
               std::int64_t tile_begin, std::int64_t tile_end);
  /// to[column][row] = from[row][column] for a rows × columns matrix, dense on both sides.
  void (*transpose)(const float* from, std::int64_t rows, std::int64_t columns, float* to,
                    std::int64_t row_begin, std::int64_t row_end);
};

}  // namespace ember::kernels
