#include <algorithm>
#include <numeric>

#include "ops/direct_conv.hpp"

namespace ember::ops {

namespace {

/// Fills in the strides of both tensors: `input` and `output` floats per position of the last axis.
void set_strides(ConvPhase& phase, const Windows& windows, std::int64_t input, std::int64_t output) {
  for (int i = kSpatialAxes - 1; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    phase.axes[at].in_stride = input;
    phase.axes[at].out_stride = output;
    input *= windows.axes[at].input;
    output *= windows.axes[at].output;
  }
}

FilterPacking packing_of(const ConvGeometry& g, std::int64_t lanes, std::int64_t columns) {
  FilterPacking packing{.groups = g.groups,
                        .in_per_group = g.in_per_group(),
                        .out_per_group = g.out_per_group(),
                        .lanes = lanes,
                        .columns = columns};
  for (std::size_t i = 0; i < kSpatialAxes; ++i) packing.kernel[i] = g.windows.axes[i].kernel;
  return packing;
}

bool pointwise(const Windows& windows) {
  return std::ranges::all_of(windows.axes, [](const WindowAxis& axis) {
    return axis.kernel == 1 && axis.stride == 1 && axis.pad_begin == 0 && axis.pad_end == 0;
  });
}

/// Whether a single tap meets only positions on the input.
bool one_inner_tap(const Windows& windows) {
  return std::ranges::all_of(windows.axes, [](const WindowAxis& axis) {
    return axis.kernel == 1 && axis.pad_begin == 0 && (axis.output - 1) * axis.stride < axis.input;
  });
}

/// One axis of a ConvTranspose at output positions with remainder `phase`.
void set_transposed(const WindowAxis& axis, std::int64_t phase, kernels::ConvAxis& direct, TapSet& taps) {
  const std::int64_t common = std::gcd(axis.stride, axis.dilation);
  const std::int64_t period = axis.stride / common;
  taps = {.step = period, .count = 0};
  for (std::int64_t k = 0; k < std::min(period, axis.kernel); ++k) {
    if ((phase + axis.pad_begin - k * axis.dilation) % axis.stride != 0) continue;
    taps.first = k;
    taps.count = (axis.kernel - 1 - k) / period + 1;
    break;
  }
  direct.input = axis.input;
  direct.output = axis.output > phase ? (axis.output - 1 - phase) / axis.stride + 1 : 0;
  direct.taps = taps.count;
  direct.in_step = 1;
  direct.in_offset =
      taps.count == 0 ? 0 : (phase + axis.pad_begin - taps.first * axis.dilation) / axis.stride;
  direct.tap_step = -axis.dilation / common;
}

}  // namespace

ConvPhase conv_phase(const ConvGeometry& g, std::int64_t block, std::int64_t columns, bool plain_input) {
  ConvPhase phase;
  // Plain input has no channels side by side, but a lone tap can walk through all of them in one loop.
  const std::int64_t plain_lanes = one_inner_tap(g.windows) ? g.in_per_group() : 1;
  // A single block that is not full is read only as far as it goes, by fours as loops are unrolled.
  const std::int64_t block_lanes = std::min(block, (g.in_per_group() + 3) / 4 * 4);
  phase.packing = packing_of(g, plain_input ? plain_lanes : block_lanes, columns);
  for (std::size_t i = 0; i < kSpatialAxes; ++i) {
    const WindowAxis& axis = g.windows.axes[i];
    phase.packing.taps[i].count = axis.kernel;
    phase.axes[i] = {.input = axis.input,
                     .output = axis.output,
                     .taps = axis.kernel,
                     .in_step = axis.stride,
                     .in_offset = -axis.pad_begin,
                     .tap_step = axis.dilation};
  }
  set_strides(phase, g.windows, plain_input ? 1 : block, block);
  if (pointwise(g.windows)) {
    // Without neighbours the whole image is one row.
    phase.axes[0] = phase.axes[1] = {};
    phase.axes[2].input = phase.axes[2].output = g.windows.outputs();
  }
  return phase;
}

std::vector<ConvPhase> conv_transpose_phases(const ConvGeometry& g, std::int64_t block, std::int64_t columns,
                                             bool plain_input) {
  std::vector<ConvPhase> phases;
  const auto& [depth, height, width] = g.windows.axes;
  std::int64_t weights = 0;
  for (std::int64_t d = 0; d < std::min(depth.stride, depth.output); ++d) {
    for (std::int64_t h = 0; h < std::min(height.stride, height.output); ++h) {
      for (std::int64_t w = 0; w < std::min(width.stride, width.output); ++w) {
        ConvPhase phase;
        phase.packing = packing_of(g, plain_input ? 1 : block, columns);
        phase.packing.transposed = true;
        const Position at = {d, h, w};
        for (std::size_t i = 0; i < kSpatialAxes; ++i)
          set_transposed(g.windows.axes[i], at[i], phase.axes[i], phase.packing.taps[i]);
        set_strides(phase, g.windows, plain_input ? 1 : block, block);
        for (std::size_t i = 0; i < kSpatialAxes; ++i) {
          phase.output += at[i] * phase.axes[i].out_stride;
          phase.axes[i].out_stride *= g.windows.axes[i].stride;
        }
        phase.weights = weights;
        weights += phase.packing.size();
        phases.push_back(phase);
      }
    }
  }
  return phases;
}

}  // namespace ember::ops
