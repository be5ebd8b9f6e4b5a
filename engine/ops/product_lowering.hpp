#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "kernels/product.hpp"
#include "ops/lowering.hpp"

namespace ember::ops {

// Shared by the lowerings of matrix products and convolutions.

/// A step's epilogue as its kernel wants it. `fused` must outlive the result.
inline kernels::ProductEpilogue product_epilogue(const Epilogue& fused, const float* bias,
                                                 const void* residual) {
  return {.bias = bias,
          .residual = fused.residual ? static_cast<const float*>(residual) : nullptr,
          .before = fused.before,
          .after = fused.after,
          .watch_before = {},
          .watch_after = {}};
}

/// Lets the epilogue of a stage gather what is watched in the pieces from `piece` on.
inline void watch(kernels::ProductEpilogue& epilogue, const Epilogue& fused, const StepContext& context,
                  std::int64_t piece, std::size_t stage = 0) {
  if (fused.watch_before) epilogue.watch_before = {&*fused.watch_before, context.pieces[2 * stage] + piece};
  if (fused.watch_after) epilogue.watch_after = {&*fused.watch_after, context.pieces[2 * stage + 1] + piece};
}

/// Blocks that statistics of so many channels are gathered in.
inline std::int64_t piece_blocks(std::int64_t channels) {
  constexpr std::int64_t kPerBlock = kernels::PieceTotals::kChannels;
  return (channels + kPerBlock - 1) / kPerBlock;
}

/// Serial nanoseconds that multiply-adds (counting two) and bytes streamed take at least, roughly.
inline std::int64_t product_nanoseconds(double flops, double bytes) {
  return static_cast<std::int64_t>(std::max(flops / 150.0, bytes / 30.0));
}

/// How much work a task should be: enough to outweigh handing it over, little enough to balance.
inline constexpr double kTaskNanoseconds = 6e3;

[[nodiscard]] constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// [0, count) in `chunks` parts whose lengths differ by at most one unit of `unit`.
struct Chunks {
  std::int64_t count = 0;
  std::int64_t chunk = 1;

  Chunks() = default;
  /// Parts of about `wanted`, a multiple of `unit`, as equal as possible.
  Chunks(std::int64_t total, std::int64_t wanted, std::int64_t unit = 1) : count(total) {
    const std::int64_t parts = std::max<std::int64_t>(1, ceil_div(total, std::max<std::int64_t>(1, wanted)));
    chunk = std::max<std::int64_t>(1, ceil_div(ceil_div(total, parts), unit) * unit);
  }
  [[nodiscard]] std::int64_t parts() const { return std::max<std::int64_t>(1, ceil_div(count, chunk)); }
  [[nodiscard]] std::int64_t begin(std::int64_t part) const { return std::min(count, part * chunk); }
  [[nodiscard]] std::int64_t end(std::int64_t part) const { return std::min(count, (part + 1) * chunk); }
};

/// Whether all inputs (residual included) and outputs are float32 and hold at least one element.
inline bool all_float32(const LowerContext& c) {
  const auto fits = [](const TensorDesc& desc) {
    return desc.type == DataType::Undefined || (desc.type == DataType::Float32 && desc.shape.elements() > 0);
  };
  return std::ranges::all_of(c.inputs, fits) && std::ranges::all_of(c.outputs, fits);
}

/// Fused PRelu slopes are per channel of axis 1; a matrix product can follow that only when axis 1 is its
/// last.
inline bool per_channel_slopes(const Epilogue& epilogue) {
  const auto several = [](const kernels::Activation& a) {
    return a.kind == kernels::ActivationKind::PRelu && a.slope_count > 1;
  };
  return several(epilogue.before) || several(epilogue.after);
}

}  // namespace ember::ops
