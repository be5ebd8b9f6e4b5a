#pragma once

#include <cstdint>

namespace ember::kernels {

enum class ReduceOp : std::uint8_t { Sum, SumOfMagnitudes, SumOfSquares, Product, Max, Min };

/// Reductions. Sums are made of blocks of fixed size, so their bits depend on the length alone; Max and
/// Min are NaN where an element is.
struct ReduceKernels {
  /// Of n contiguous floats, n >= 1.
  float (*run)(ReduceOp op, const float* x, std::int64_t n);
  /// y[c] from x[r stride + c] over all r below `count` (>= 1), for every c below `width`.
  void (*columns)(ReduceOp op, const float* x, float* y, std::int64_t count, std::int64_t stride,
                  std::int64_t width);
  /// Index of the extreme of n contiguous floats, n >= 1; NaN counts as the most extreme. The first one,
  /// or the last one.
  std::int64_t (*arg_run)(bool max, bool last, const float* x, std::int64_t n);
  /// The same over r for every column, as `columns` has it.
  void (*arg_columns)(bool max, bool last, const float* x, std::int64_t* y, std::int64_t count,
                      std::int64_t stride, std::int64_t width);
};

}  // namespace ember::kernels
