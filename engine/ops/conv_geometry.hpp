#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ember/tensor.hpp>

#include "ops/op.hpp"

namespace ember::ops {

/// Spatial axes a convolution or pool may have. Fewer are padded in front with trivial ones, so that
/// every loop is over depth, height and width.
inline constexpr int kSpatialAxes = 3;

using Position = std::array<std::int64_t, kSpatialAxes>;

/// One spatial axis of a sliding window. Output o and tap k meet input o·stride − pad_begin + k·dilation.
struct WindowAxis {
  std::int64_t input = 1;
  std::int64_t kernel = 1;
  std::int64_t output = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
  std::int64_t pad_begin = 0;
  std::int64_t pad_end = 0;

  /// Input positions from the first tap to the last.
  [[nodiscard]] std::int64_t extent() const noexcept { return (kernel - 1) * dilation + 1; }
};

struct Windows {
  int rank = 0;  ///< spatial axes the model states; they are the last `rank` of `axes`
  std::array<WindowAxis, kSpatialAxes> axes;

  [[nodiscard]] std::int64_t inputs() const noexcept { return axes[0].input * axes[1].input * axes[2].input; }
  [[nodiscard]] std::int64_t outputs() const noexcept {
    return axes[0].output * axes[1].output * axes[2].output;
  }
  [[nodiscard]] std::int64_t taps() const noexcept {
    return axes[0].kernel * axes[1].kernel * axes[2].kernel;
  }
};

/// The windows of a convolution or pool: attributes strides, dilations, pads and auto_pad applied to
/// the spatial extents of x (its axes from 2 on). `round_up` is ceil_mode. Fails (InvalidModel,
/// Unsupported) on anything that makes no window.
Windows window_geometry(const NodeContext& node, const Shape& x, std::span<const std::int64_t> kernel,
                        bool round_up = false);

/// All sizes of a Conv or ConvTranspose, named from the operator's point of view in both cases.
struct ConvGeometry {
  std::int64_t batch = 0;
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t groups = 1;
  Windows windows;

  [[nodiscard]] std::int64_t in_per_group() const noexcept { return in_channels / groups; }
  [[nodiscard]] std::int64_t out_per_group() const noexcept { return out_channels / groups; }
  /// [batch, out_channels, output extents...]
  [[nodiscard]] Shape output_shape() const;
  /// Multiply-adds count two.
  [[nodiscard]] double conv_flops() const noexcept;
};

/// Conv (also QLinearConv and ConvInteger): weights [M, C/group, k...].
ConvGeometry conv_geometry(const NodeContext& node, const Shape& x, const Shape& w);
/// ConvTranspose: weights [C, M/group, k...]. Here input position i and tap k meet output
/// i·stride − pad_begin + k·dilation.
ConvGeometry conv_transpose_geometry(const NodeContext& node, const Shape& x, const Shape& w);

/// Load-time check shared by everything with windows: a known auto_pad.
void check_auto_pad(const NodeContext& node, std::vector<std::string>& reasons);

/// Calls f(position, index) for every output position of the windows, in row-major order.
template <class F>
void for_each_output(const Windows& windows, F&& f) {
  const auto& [depth, height, width] = windows.axes;
  std::int64_t index = 0;
  for (std::int64_t d = 0; d < depth.output; ++d) {
    for (std::int64_t h = 0; h < height.output; ++h) {
      for (std::int64_t w = 0; w < width.output; ++w) f(Position{d, h, w}, index++);
    }
  }
}

/// The taps of the window at `out` that lie on the input, along one axis: [begin, end).
struct TapRange {
  std::int64_t first = 0;  ///< input position of tap 0, on the input or not
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

inline TapRange taps_on_input(const WindowAxis& axis, std::int64_t out) {
  const auto taps_before = [&](std::int64_t distance) {
    return distance <= 0 ? 0 : (distance + axis.dilation - 1) / axis.dilation;
  };
  const std::int64_t first = out * axis.stride - axis.pad_begin;
  const std::int64_t end = taps_before(axis.input - first);
  return {.first = first, .begin = taps_before(-first), .end = end < axis.kernel ? end : axis.kernel};
}

/// Calls tap(input index, kernel index) for every tap of the window at `out` that lies on the input.
template <class Tap>
void for_each_tap(const Windows& windows, const Position& out, Tap&& tap) {
  const auto& [depth, height, width] = windows.axes;
  const TapRange in_depth = taps_on_input(depth, out[0]);
  const TapRange in_height = taps_on_input(height, out[1]);
  const TapRange in_width = taps_on_input(width, out[2]);
  for (std::int64_t kd = in_depth.begin; kd < in_depth.end; ++kd) {
    const std::int64_t d = in_depth.first + kd * depth.dilation;
    for (std::int64_t kh = in_height.begin; kh < in_height.end; ++kh) {
      const std::int64_t h = in_height.first + kh * height.dilation;
      for (std::int64_t kw = in_width.begin; kw < in_width.end; ++kw) {
        const std::int64_t w = in_width.first + kw * width.dilation;
        tap((d * height.input + h) * width.input + w, (kd * height.kernel + kh) * width.kernel + kw);
      }
    }
  }
}

/// The literal convolution. For every output element calls result(y index, output channel, taps), where
/// taps(f) calls f(x index, w index) for each of its multiplications. Fits any element type.
template <class Result>
void for_each_conv_output(const ConvGeometry& g, Result&& result) {
  const std::int64_t inputs = g.windows.inputs();
  const std::int64_t outputs = g.windows.outputs();
  const std::int64_t taps = g.windows.taps();
  for (std::int64_t n = 0; n < g.batch; ++n) {
    for (std::int64_t m = 0; m < g.out_channels; ++m) {
      const std::int64_t first_channel = m / g.out_per_group() * g.in_per_group();
      for_each_output(g.windows, [&](const Position& position, std::int64_t p) {
        result((n * g.out_channels + m) * outputs + p, m, [&](auto&& multiply) {
          for (std::int64_t c = 0; c < g.in_per_group(); ++c) {
            const std::int64_t plane = (n * g.in_channels + first_channel + c) * inputs;
            const std::int64_t filter = (m * g.in_per_group() + c) * taps;
            for_each_tap(g.windows, position,
                         [&](std::int64_t x, std::int64_t k) { multiply(plane + x, filter + k); });
          }
        });
      });
    }
  }
}

}  // namespace ember::ops
