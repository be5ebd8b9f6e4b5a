#pragma once

#include <cstdint>

namespace ember::kernels {

/// Activations that ONNX allows inside LSTM, GRU and RNN cells.
enum class CellFunction : std::uint8_t {
  Sigmoid,
  Tanh,
  Relu,
  Affine,           ///< alpha x + beta
  LeakyRelu,        ///< x < 0 ? alpha x : x
  ThresholdedRelu,  ///< x > alpha ? x : 0
  ScaledTanh,       ///< alpha tanh(beta x)
  HardSigmoid,      ///< clamp(alpha x + beta, 0, 1)
  Elu,              ///< x < 0 ? alpha (e^x − 1) : x
  Softsign,         ///< x / (1 + |x|)
  Softplus,         ///< ln(1 + e^x)
};

struct CellActivation {
  CellFunction function = CellFunction::Sigmoid;
  float alpha = 0.0F;
  float beta = 0.0F;
};

/// Element-wise loops between the matrix products of a cell. An operand may be the result, too.
struct RecurrentKernels {
  /// y = a b
  void (*multiply)(const float* a, const float* b, float* y, std::int64_t n);
  /// y = y + a b
  void (*accumulate)(const float* a, const float* b, float* y, std::int64_t n);
  /// state = forget state + input candidate
  void (*lstm_state)(const float* forget, const float* input, const float* candidate, float* state,
                     std::int64_t n);
  /// h = (1 - update) candidate + update h
  void (*gru_state)(const float* update, const float* candidate, float* h, std::int64_t n);
};

}  // namespace ember::kernels
