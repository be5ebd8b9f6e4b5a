#pragma once

#include <cstdint>

namespace ember::kernels {

/// Softmax, or its logarithm. x == y is allowed; the bits of a line depend on the line alone.
struct SoftmaxKernels {
  /// Over each of `rows` rows of `length` (>= 1) contiguous floats.
  void (*rows)(const float* x, float* y, std::int64_t rows, std::int64_t length, bool logarithm);
  /// Down each of `width` columns: the line of column c is x[r stride + c], r below `length` (>= 1).
  void (*columns)(const float* x, float* y, std::int64_t length, std::int64_t stride, std::int64_t width,
                  bool logarithm);
  /// Softmax of `rows` rows of scores, x_row floats apart, in two parts: x becomes e^(x + mask - largest),
  /// and inverse[row] one by their sum. Rows of the mask are mask_row floats apart (0: one for all); nullptr:
  /// none.
  void (*weights)(float* x, std::int64_t rows, std::int64_t length, std::int64_t x_row, const float* mask,
                  std::int64_t mask_row, float* inverse);
  /// Multiplies `rows` rows of `length` floats, y_row apart, by a factor each.
  void (*scale_rows)(float* y, std::int64_t rows, std::int64_t length, std::int64_t y_row,
                     const float* factors);
};

}  // namespace ember::kernels
