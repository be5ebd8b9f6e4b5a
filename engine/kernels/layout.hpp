#pragma once

#include <cstdint>

#include "kernels/product.hpp"

namespace ember::kernels {

/// Between [channels][positions] and [positions][block] for one block of channels. The plain channels are
/// `stride` floats apart.
struct LayoutKernels {
  /// Lanes from `channels` on become zero.
  void (*to_blocked)(const float* from, std::int64_t stride, std::int64_t channels, std::int64_t positions,
                     float* to);
  void (*to_plain)(const float* from, std::int64_t channels, std::int64_t positions, float* to,
                   std::int64_t stride);
  /// The epilogue (without bias) on `count` floats of one channel, in place.
  void (*finish_channel)(float* data, const float* residual, std::int64_t count, std::int64_t channel,
                         const Activation& before, const Activation& after);
};

}  // namespace ember::kernels
