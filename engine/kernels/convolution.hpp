#pragma once

#include <cstdint>

#include "kernels/product.hpp"

namespace ember::kernels {

/// One spatial axis of a direct convolution: output o and tap t meet input
/// o · in_step + in_offset + t · tap_step, which counts as zero outside [0, input).
struct ConvAxis {
  std::int64_t input = 1;
  std::int64_t output = 1;
  std::int64_t taps = 1;
  std::int64_t in_step = 1;
  std::int64_t in_offset = 0;
  std::int64_t tap_step = 1;
  std::int64_t in_stride = 0;   ///< floats between input positions
  std::int64_t out_stride = 0;  ///< floats between computed outputs
};

/// A convolution of one sample and one group by register tiles, with a blocked output. A tile's rows are
/// neighbours along the last axis; its columns are output channels.
struct ConvJob {
  ConvAxis axes[3];  ///< depth, height, width

  // Input channels are summed in `channels` steps of `lanes`: blocked input has lanes = block and
  // lane_stride = 1; plain input has one channel per step, or, where there is a single tap and no
  // padding, all channels in one step.
  std::int64_t channels = 1;
  std::int64_t channel_stride = 0;
  std::int64_t lanes = 1;
  std::int64_t lane_stride = 1;

  const float* input = nullptr;
  const float* weights = nullptr;  ///< [tiles][channels][taps...][lanes][tile.columns]
  float* output = nullptr;
  std::int64_t blocks = 1;     ///< of output channels
  std::int64_t out_block = 0;  ///< floats between them
  std::int64_t channel = 0;    ///< the first output channel, as slopes count
  /// Bias of the first output channel; residual laid out as the output. Watched only where outputs follow
  /// each other without gaps.
  ProductEpilogue epilogue;
};

/// A depthwise convolution of some blocks of channels, blocked on both sides.
struct DepthwiseJob {
  ConvAxis axes[3];
  const float* input = nullptr;
  const float* weights = nullptr;  ///< [blocks][taps...][block]
  float* output = nullptr;
  std::int64_t blocks = 1;
  std::int64_t in_block = 0, out_block = 0;  ///< floats between them
  std::int64_t channel = 0;                  ///< the first one, as slopes count
  ProductEpilogue epilogue;                  ///< bias of the first channel; residual laid out as the output
};

struct ConvKernels {
  ProductTile tile;
  /// Strips are the row tiles of the output, ceil(width / tile.rows) per row, rows in order. Column
  /// tiles hold tile.columns channels. Every output is summed in one order, however it is split.
  void (*run)(const ConvJob& job, std::int64_t strip_begin, std::int64_t strip_end, std::int64_t tile_begin,
              std::int64_t tile_end);
  /// Rows (depth × height of the output) [row_begin, row_end) of every block.
  void (*depthwise)(const DepthwiseJob& job, std::int64_t row_begin, std::int64_t row_end);
};

}  // namespace ember::kernels
