#pragma once

#include <cstdint>

#include "kernels/product.hpp"

namespace ember::kernels {

/// A 3×3 convolution of stride 1, blocked on both sides, by Winograd's minimal filtering: the output is cut
/// into tiles of outputs × outputs; a tile's input, a transformed window of window × window, meets the
/// transformed filters in window² independent matrix products, one per point.
///
/// Tiles are numbered over all samples, row by row. A job works on a range of them ("rows" of the
/// products), with the transformed input and the products in memory of the caller's.
struct WinogradJob {
  std::int64_t in_height = 0;
  std::int64_t in_width = 0;
  std::int64_t out_height = 0;
  std::int64_t out_width = 0;
  std::int64_t pad_top = 0;
  std::int64_t pad_left = 0;
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;

  const float* input = nullptr;    ///< [samples][in blocks][in_height][in_width][block]
  const float* filters = nullptr;  ///< [points][column tiles][in_channels][tile.columns]
  float* output = nullptr;         ///< [samples][out blocks][out_height][out_width][block]
  ProductEpilogue epilogue;        ///< bias padded to whole blocks; residual laid out as the output
  std::int64_t sample_pieces = 0;  ///< statistics: from one sample's piece to the next one's

  float* transformed = nullptr;        ///< [points][in blocks][rows][block]
  std::int64_t transformed_block = 0;  ///< floats between blocks
  std::int64_t transformed_point = 0;  ///< floats between points
  float* products = nullptr;           ///< [points][out blocks][rows][block], whole tiles of columns
  std::int64_t products_block = 0;
  std::int64_t products_point = 0;
};

/// F(outputs×outputs, 3×3).
struct WinogradForm {
  int outputs;
  int window;
  /// Transforms the input of `rows` tiles from `tile` on, into rows [row, row + rows).
  void (*transform)(const WinogradJob& job, std::int64_t tile, std::int64_t row, std::int64_t rows);
  /// Products of all `rows` rows at one point, for column tiles [tile_begin, tile_end). Summed in the order
  /// of the channels, however it is split.
  void (*multiply)(const WinogradJob& job, std::int64_t point, std::int64_t rows, std::int64_t tile_begin,
                   std::int64_t tile_end);
  /// The outputs of `rows` tiles from `tile` on, whose products are in rows [row, row + rows).
  void (*finish)(const WinogradJob& job, std::int64_t tile, std::int64_t row, std::int64_t rows);
  /// Packs filters [out_channels][in_channels][3][3]; zeros where channels run out.
  void (*pack)(const float* filters, std::int64_t out_channels, std::int64_t in_channels, float* packed);
};

struct WinogradKernels {
  ProductTile tile;
  WinogradForm f2, f4;
};

}  // namespace ember::kernels
