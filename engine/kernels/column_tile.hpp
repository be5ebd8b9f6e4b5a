#pragma once

// One column tile of a matrix product or pointwise convolution: its weights against one register tile of rows
// after the other. Included only by *.isa.cpp files.

#include "kernels/register_tile.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

struct TileEpilogue;

/// Steps that one tile of rows after the other takes at once; of more, it goes on from the stored sums in
/// another pass. Their weights are a few times L1, which keeps up with their coming from L2.
inline constexpr std::int64_t kStepsPerPass = 1024;

/// output[row][column] = Σ input[row · input_row + …] · weights[… + column], over `depth` steps: neighbours
/// on the input, in blocks of `lanes` of them.
struct ColumnTile {
  const float* input = nullptr;
  std::int64_t input_row = kBlock;
  std::int64_t depth = 0;
  std::int64_t lanes = 0;
  std::int64_t block_step = 0;  ///< floats between blocks of the input
  bool fetch_ahead = false;     ///< rows that are neighbours: the input is not in L2 yet
  const float* weights = nullptr;
  /// As many weights as these, needed next: fetched meanwhile. Null: there are none, or they follow.
  const float* next = nullptr;
  const float* bias = nullptr;  ///< may be null
  bool resume = false;          ///< go on from the sums in the output
  bool positive_zero = false;   ///< sums of -0 become +0
  float* output = nullptr;
  std::int64_t out_row = kBlock;
  std::int64_t out_block = kBlock;           ///< floats between blocks of columns
  const float* residual = nullptr;           ///< laid out as the output, may be null
  std::int64_t channel = 0;                  ///< of column 0
  const TileEpilogue* epilogue = nullptr;    ///< null: none, or it follows
  const CountedEpilogue* counted = nullptr;  ///< in place of `epilogue`

  [[nodiscard]] EMBER_INLINE std::int64_t column(std::int64_t vector) const {
    return vector / kVectorsPerBlock * out_block + vector % kVectorsPerBlock * kLanes;
  }
};

/// Rows [begin, end) of the first `vectors` (1 or 2) vectors of columns, in register tiles of as equal a
/// height as possible.
void run_column(const ColumnTile& tile, std::int64_t vectors, std::int64_t begin, std::int64_t end);

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
