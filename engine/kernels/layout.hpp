#pragma once

#include <cstdint>

#include "kernels/product.hpp"

namespace ember::kernels {

/// Between [channels][positions] and [positions][block] for one block of channels.
struct LayoutKernels {
  /// Lanes from `channels` on become zero.
  void (*to_blocked)(const float* from, std::int64_t channels, std::int64_t positions, float* to);
  void (*to_plain)(const float* from, std::int64_t channels, std::int64_t positions, float* to);
  /// The epilogue (without bias) on `count` floats of one channel, in place.
  void (*finish_channel)(float* data, const float* residual, std::int64_t count, std::int64_t channel,
                         const Activation& before, const Activation& after);
};

}  // namespace ember::kernels
