#pragma once

// The inner loop of every matrix product and convolution: a tile of sums held
// in registers. Included only by *.isa.cpp files.

#include "kernels/product.hpp"
#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

inline constexpr int kTileVectors = 2;
inline constexpr std::int64_t kTileColumns = kTileVectors * kLanes;
#if defined(EMBER_ISA_AVX512)
inline constexpr std::int64_t kTileRows = 14;
inline constexpr std::int64_t kBlock = 16;
#elif defined(EMBER_ISA_AVX2)
inline constexpr std::int64_t kTileRows = 6;
inline constexpr std::int64_t kBlock = 8;
#else
inline constexpr std::int64_t kTileRows = 4;
inline constexpr std::int64_t kBlock = 8;
#endif
inline constexpr std::int64_t kVectorsPerBlock = kBlock / kLanes;

struct CountedEpilogue;

/// One loop around the innermost: how often, and how far both operands move
/// each time.
struct TileLevel {
  std::int64_t count = 1;
  std::int64_t a_step = 0;
  std::int64_t b_step = 0;
};

/// sums[row][column] = Σ a[row · a_row + …] · b[… + column], over `levels`
/// (outermost first) and then `depth` steps in which a moves by a_step and b by
/// one row of packed weights.
struct TileWork {
  const float* a = nullptr;
  const float* b = nullptr;
  std::int64_t a_row = 0;
  std::int64_t a_step = 1;
  std::int64_t depth = 0;
  TileLevel levels[4];
  /// Listed tiles only: the depth's steps are at a + offsets[step], without
  /// levels.
  const std::int32_t* offsets = nullptr;

  // Bordered tiles only: row r at step t of the last level meets input position
  // x + r · x_row + t · x_tap; `a` points at position 0, and positions outside
  // [0, x_limit) read as zeros.
  std::int64_t x = 0;
  std::int64_t x_row = 0;
  std::int64_t x_tap = 0;
  std::int64_t x_limit = 0;
  std::int64_t x_pixel = 0;  ///< floats between positions

  float* c = nullptr;
  std::int64_t c_row = 0;
  std::int64_t c_block = 0;     ///< floats between blocks of channels; kBlock when a row is contiguous
  std::int64_t channel = 0;     ///< of column 0, for bias and slopes
  const float* bias = nullptr;  ///< of column 0
  bool resume = false;          ///< start from c instead of the bias
  /// Fetch the rows that follow this tile's: neighbours in each plane of an
  /// image are too short a run for the hardware to foresee. For rows that are
  /// not in L2 yet.
  bool fetch_ahead = false;
  /// Packed weights needed next, and floats of them to fetch per step; null: those a few steps ahead.
  const float* ahead = nullptr;
  std::int64_t ahead_step = kTileColumns;
  bool partial = false;             ///< more steps follow in another tile: leave the epilogue out
  const float* residual = nullptr;  ///< of c[0]
  const Activation* before = nullptr;
  const Activation* after = nullptr;
  const CountedEpilogue* counted = nullptr;  ///< in place of before and after
};

using TileFunction = void (*)(const TileWork& work);

/// How a tile walks through its input.
enum class TileWalk : std::uint8_t {
  Levels,      ///< by levels and depth
  Neighbours,  ///< the same, with rows kBlock floats apart and steps of 1
  Bordered,    ///< the same, checking every position
  Listed,      ///< by a list of offsets
};

/// Rows that a tile of one vector may have where its rows are neighbours: as many sums as elsewhere two
/// vectors make.
inline constexpr std::int64_t kNarrowTileRows = kTileVectors * kTileRows;

/// The tile of `rows` (1 to kTileRows; to kNarrowTileRows for one vector of neighbours) × `vectors` (1 or 2).
TileFunction register_tile(std::int64_t rows, std::int64_t vectors, TileWalk walk = TileWalk::Levels);

/// Instance<rows>::run for 1 to kMost rows.
template <class Function, template <int> class Instance, int kMost>
class RowTable {
 public:
  constexpr RowTable() { fill<kMost>(); }
  [[nodiscard]] EMBER_INLINE Function operator[](std::int64_t rows) const { return functions_[rows - 1]; }

 private:
  template <int kRows>
  constexpr void fill() {
    functions_[kRows - 1] = Instance<kRows>::run;
    if constexpr (kRows > 1) fill<kRows - 1>();
  }

  Function functions_[kMost] = {};
};

/// Vectors needed for `columns` output columns of one tile.
EMBER_INLINE std::int64_t vectors_for(std::int64_t columns) { return (columns + kLanes - 1) / kLanes; }

EMBER_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
EMBER_INLINE std::int64_t larger(std::int64_t a, std::int64_t b) { return a > b ? a : b; }

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
