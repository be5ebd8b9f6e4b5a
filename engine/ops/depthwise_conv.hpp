#pragma once

#include <cstdint>
#include <optional>

#include "ops/direct_conv.hpp"
#include "ops/lowering.hpp"

namespace ember::ops {

/// A depthwise convolution, blocked on both sides.
struct DepthwisePlan {
  ConvGeometry g;
  std::int64_t block = 8;
  ConvPhase phase;
  PackedWeights weights;  ///< [blocks][taps][block]
  PackedWeights bias;     ///< null: none
  Epilogue epilogue;

  [[nodiscard]] std::int64_t blocks() const { return ceil_div(g.out_channels, block); }
};

/// Fills in the plan of a node, its filters packed; says why not where it cannot run so.
std::optional<Refusal> plan_depthwise(LowerContext& c, DepthwisePlan& plan);

LowerResult consider_depthwise_conv(LowerContext& c);

}  // namespace ember::ops
