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

}  // namespace ember::kernels
