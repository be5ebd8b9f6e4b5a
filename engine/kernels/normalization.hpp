#pragma once

#include <cstdint>

#include "kernels/activation.hpp"

namespace ember::kernels {

/// The window of local response normalisation around one channel.
struct LrnWindow {
  std::int64_t before = 0;  ///< channels below, those outside left out already
  std::int64_t after = 0;   ///< channels above
  float bias = 1;
  float factor = 0;  ///< of the sum of squares
  float beta = 0;
};

/// Normalisations. x == y is allowed except in lrn.
struct NormalizationKernels {
  /// y = activation(x scale[i] + shift[i]) for `rows` contiguous rows of `width`. Activations other than
  /// None, Relu and Clip are left to the caller.
  void (*affine_rows)(const float* x, float* y, std::int64_t rows, std::int64_t width, const float* scale,
                      const float* shift, const Activation& activation);
  /// The same with one scale and shift for all n floats.
  void (*affine)(const float* x, float* y, std::int64_t n, float scale, float shift,
                 const Activation& activation);
  /// Mean and variance of n contiguous floats, n >= 1.
  void (*moments)(const float* x, std::int64_t n, double* mean, double* variance);
  /// The mean of squares alone.
  double (*mean_square)(const float* x, std::int64_t n);
  /// y = (x - mean) inverse scale[i] + shift[i]; shift may be null.
  void (*normalize)(const float* x, float* y, std::int64_t n, float mean, float inverse, const float* scale,
                    const float* shift);
  /// y = x / (bias + factor Σ x_c²)^beta for n positions of one channel; the window's channels are
  /// `stride` floats apart.
  void (*lrn)(const float* x, float* y, std::int64_t n, std::int64_t stride, const LrnWindow& window);
};

}  // namespace ember::kernels
