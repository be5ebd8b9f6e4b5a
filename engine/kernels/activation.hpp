#pragma once

#include <cstdint>

namespace ember::kernels {

/// Activations that a kernel can apply to its result, or that run as a loop of their own.
/// alpha, beta and (for PRelu) slopes mean what the comment says.
enum class ActivationKind : std::uint8_t {
  None,
  Relu,             ///< max(x, 0); NaN stays NaN
  LeakyRelu,        ///< x < 0 ? alpha x : x
  PRelu,            ///< x < 0 ? slope[channel] x : x
  Elu,              ///< x < 0 ? alpha (e^x − 1) : x
  Selu,             ///< beta (x < 0 ? alpha (e^x − 1) : x), beta is ONNX's gamma
  Celu,             ///< max(x,0) + min(0, alpha (e^(x/alpha) − 1))
  ThresholdedRelu,  ///< x > alpha ? x : 0
  Gelu,             ///< x/2 (1 + erf(x/√2))
  GeluTanh,         ///< x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))
  Sigmoid,          ///< 1 / (1 + e^−x)
  HardSigmoid,      ///< clamp(alpha x + beta, 0, 1)
  HardSwish,        ///< x clamp(x/6 + 1/2, 0, 1)
  Silu,             ///< x sigmoid(alpha x), alpha usually 1
  Mish,             ///< x tanh(ln(1 + e^x))
  Softplus,         ///< ln(1 + e^x)
  Softsign,         ///< x / (1 + |x|)
  Tanh,
  Clip,  ///< min(max(x, alpha), beta); ReLU6 is Clip(0, 6); either end may be infinite
};

/// Plain data, passed to kernels by value.
struct Activation {
  ActivationKind kind = ActivationKind::None;
  float alpha = 0.0F;
  float beta = 0.0F;
  /// PRelu only: one slope per channel (slope_count == channels, padded with zeros to a multiple of
  /// 16 floats so that a vector load at any channel block is safe) or one for all (slope_count == 1).
  const float* slopes = nullptr;
  std::int64_t slope_count = 0;
};

/// Activations as loops of their own. x == y is allowed; every element has the same bits wherever it
/// lies in a loop.
struct ActivationKernels {
  /// n contiguous floats, all of one channel (which only PRelu asks).
  void (*apply_channel)(const Activation& activation, const float* x, float* y, std::int64_t n,
                        std::int64_t channel);
  /// `rows` rows of `width` floats, x_stride and y_stride apart; element i of a row belongs to channel
  /// first_channel + i: rows of a blocked layout or of a matrix.
  void (*apply_rows)(const Activation& activation, const float* x, float* y, std::int64_t rows,
                     std::int64_t width, std::int64_t x_stride, std::int64_t y_stride,
                     std::int64_t first_channel);
};

}  // namespace ember::kernels
