#pragma once

#include <cstdint>

#include "kernels/convolution.hpp"

namespace ember::kernels {

enum class PoolKind : std::uint8_t { Max, Average };

/// A pool over one plane: one block of channels (lanes = block, blocked), or one channel (lanes = 1).
struct PoolJob {
  ConvAxis axes[3];              ///< depth, height, width
  std::int64_t pad_end[3] = {};  ///< beyond the input; counts only when include_padding
  bool include_padding = false;  ///< an average divides by taps on the padding too
  PoolKind kind = PoolKind::Max;
  const float* input = nullptr;
  float* output = nullptr;
};

struct PoolKernels {
  /// Rows (depth × height of the output) [row_begin, row_end) of a block of channels.
  void (*blocked)(const PoolJob& job, std::int64_t row_begin, std::int64_t row_end);
  /// The same of a single channel. `line`: working memory of one input row (axes[2].input floats).
  void (*plain)(const PoolJob& job, std::int64_t row_begin, std::int64_t row_end, float* line);
  /// One block of channels over `positions` positions into `block` results.
  void (*global_blocked)(PoolKind kind, const float* input, std::int64_t positions, float* output);
  /// One channel of `positions` neighbouring floats.
  float (*global_plain)(PoolKind kind, const float* input, std::int64_t positions);
};

}  // namespace ember::kernels
