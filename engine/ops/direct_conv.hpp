#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/convolution.hpp"
#include "ops/conv_filters.hpp"
#include "ops/conv_geometry.hpp"
#include "ops/product_lowering.hpp"

namespace ember::ops {

/// A direct convolution over part of the output: all of it for Conv; for ConvTranspose the positions
/// with one remainder by the strides, each of which is a convolution of stride 1 with some of the taps.
struct ConvPhase {
  kernels::ConvAxis axes[kSpatialAxes];
  std::int64_t output = 0;  ///< of the first computed position
  FilterPacking packing;
  std::int64_t weights = 0;  ///< floats before this phase's in the packed weights
};

struct DirectConvPlan {
  ConvGeometry g;
  std::int64_t block = 8;
  bool plain_input = false;
  bool plain_output = false;
  std::vector<ConvPhase> phases;
  PackedWeights weights;  ///< null: packed by each run from input 1 (only with plain output)
  PackedWeights bias;     ///< null: none, or (runtime_bias) packed by each run
  PackedWeights constant_input;
  bool runtime_bias = false;
  Epilogue epilogue;
  std::size_t residual = 0;  ///< input index

  [[nodiscard]] std::int64_t weight_floats() const {
    return phases.back().weights + phases.back().packing.size();
  }
  [[nodiscard]] std::int64_t bias_floats() const {
    const FilterPacking& packing = phases.front().packing;
    return packing.groups * packing.tiles() * packing.columns;
  }
};

/// The single phase of a Conv. `plain_input`: read [N][C][spatial...] instead of blocks.
ConvPhase conv_phase(const ConvGeometry& g, std::int64_t block, std::int64_t columns, bool plain_input);
/// The phases of a ConvTranspose.
std::vector<ConvPhase> conv_transpose_phases(const ConvGeometry& g, std::int64_t block, std::int64_t columns,
                                             bool plain_input);

/// Packs those filters and biases that are constant; the others are packed by each run.
void take_filters(LowerContext& c, DirectConvPlan& plan);

std::unique_ptr<Step> make_direct_conv(DirectConvPlan plan, const kernels::KernelTable& kernels);
/// How it gathers statistics; nothing where it does not.
std::optional<PieceGrid> direct_conv_pieces(const DirectConvPlan& plan, const kernels::KernelTable& kernels);

}  // namespace ember::ops
