#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/recurrent.hpp"
#include "ops/op.hpp"

namespace ember::ops {

enum class CellKind : std::uint8_t { Rnn, Gru, Lstm };

/// What the attributes of LSTM, GRU or RNN say, and the extents that follow from the shapes of X and R.
struct RecurrentSpec {
  CellKind kind = CellKind::Lstm;
  int gates = 4;  ///< rows of W and R per hidden unit
  std::int64_t directions = 1;
  bool reverse = false;  ///< the first direction runs backwards (the second of two always does)
  bool batch_first = false;
  bool linear_before_reset = false;
  bool input_forget = false;
  float clip = 0.0F;  ///< 0: none
  /// Activations f, g, h of each direction; a cell with fewer ignores the rest.
  std::vector<std::array<kernels::CellActivation, 3>> activations;
  std::int64_t steps = 0, batch = 0, inputs = 0, hidden = 0;

  [[nodiscard]] bool backwards(std::int64_t direction) const noexcept { return reverse || direction == 1; }
  /// First element of one step's input vector, output vector, and of a state vector.
  [[nodiscard]] std::int64_t x_offset(std::int64_t step, std::int64_t b) const noexcept {
    return (batch_first ? b * steps + step : step * batch + b) * inputs;
  }
  [[nodiscard]] std::int64_t y_offset(std::int64_t step, std::int64_t direction,
                                      std::int64_t b) const noexcept {
    return (batch_first ? (b * steps + step) * directions + direction
                        : (step * directions + direction) * batch + b) *
           hidden;
  }
  [[nodiscard]] std::int64_t state_offset(std::int64_t direction, std::int64_t b) const noexcept {
    return (batch_first ? b * directions + direction : direction * batch + b) * hidden;
  }
};

CellKind cell_kind(const NodeContext& node);

/// Fails (InvalidModel, Unsupported) for shapes or attributes that do not fit together.
RecurrentSpec recurrent_spec(const NodeContext& node, const Shape& x, const Shape& r);

/// The sequence length of each batch entry: `lens` (int32) or, when null, all steps. Fails
/// (InvalidData) for a length outside [0, steps].
std::vector<std::int64_t> sequence_lengths(const NodeContext& node, const RecurrentSpec& spec,
                                           const ConstTensorView* lens);

// Inputs by index.
inline constexpr int kRecurrentX = 0, kRecurrentW = 1, kRecurrentR = 2, kRecurrentB = 3,
                     kRecurrentLengths = 4, kRecurrentInitialH = 5, kRecurrentInitialC = 6,
                     kRecurrentPeepholes = 7;

}  // namespace ember::ops
