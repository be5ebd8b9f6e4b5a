#pragma once

#include <cstdint>

#include "kernels/activation.hpp"
#include "kernels/statistics.hpp"

namespace ember::kernels {

/// What follows the sums of a matrix product or convolution, while they are still in registers or L1:
/// y = after(before(sums + bias) + residual).
struct ProductEpilogue {
  const float* bias = nullptr;      ///< per output channel, padded to whole tiles; nullptr: none
  const float* residual = nullptr;  ///< laid out as the output; nullptr: none
  Activation before;
  Activation after;
  Watch watch_before, watch_after;  ///< convolutions only

  [[nodiscard]] bool watched() const noexcept {
    return watch_before.rule != nullptr || watch_after.rule != nullptr;
  }
};

/// Sizes that packed weights depend on; both differ between instruction sets.
struct ProductTile {
  int rows;     ///< output rows (pixels) of a register tile
  int columns;  ///< output columns (channels) of a register tile: the width weights are packed in
};

}  // namespace ember::kernels
