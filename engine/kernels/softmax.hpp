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
};

}  // namespace ember::kernels
