#include <cstddef>
#include <vector>

#include <fmt/format.h>

#include "ops/conv_geometry.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// Conv and ConvTranspose.

namespace ember::ops {

namespace {

using GeometryOf = ConvGeometry (*)(const NodeContext&, const Shape&, const Shape&);

template <GeometryOf kGeometry>
void infer(InferContext& c) {
  const ConvGeometry g = kGeometry(c, c.shape(0), c.shape(1));
  c.require(is_floating(c.type(0)) && c.type(0) == c.type(1), "input and weights must be of one float type");
  if (c.has_input(2)) {
    c.require(c.shape(2) == Shape{g.out_channels} && c.type(2) == c.type(0),
              fmt::format("a bias of shape {} for {} channels", to_string(c.shape(2)), g.out_channels));
  }
  c.set_output(0, c.type(0), g.output_shape());
}

double conv_flops(const NodeContext& node, std::span<const Shape> inputs,
                  std::span<const Shape> /*outputs*/) {
  return conv_geometry(node, inputs[0], inputs[1]).conv_flops();
}

double conv_transpose_flops(const NodeContext& node, std::span<const Shape> inputs,
                            std::span<const Shape> /*outputs*/) {
  const ConvGeometry g = conv_transpose_geometry(node, inputs[0], inputs[1]);
  return 2.0 * static_cast<double>(inputs[0].elements()) * static_cast<double>(g.out_per_group()) *
         static_cast<double>(g.windows.taps());
}

template <class T>
std::span<const T> bias_of(const EvalContext& c) {
  return c.has_input(2) ? c.input(2).data<T>() : std::span<const T>();
}

void reference_conv(EvalContext& c) {
  const ConvGeometry g = conv_geometry(c, c.input(0).shape(), c.input(1).shape());
  dispatch_floating(c, c.input(0).type(), [&]<class T>(T) {
    const std::span<const T> x = c.input(0).data<T>();
    const std::span<const T> w = c.input(1).data<T>();
    const std::span<const T> bias = bias_of<T>(c);
    const std::span<T> y = c.output(0).data<T>();
    for_each_conv_output(g, [&](std::int64_t at, std::int64_t channel, auto&& taps) {
      Wide<T> sum = bias.empty() ? Wide<T>{} : widen(bias[static_cast<std::size_t>(channel)]);
      taps([&](std::int64_t i, std::int64_t k) {
        sum += widen(x[static_cast<std::size_t>(i)]) * widen(w[static_cast<std::size_t>(k)]);
      });
      y[static_cast<std::size_t>(at)] = narrow<T>(sum);
    });
  });
}

/// Scatters one input plane through one filter into one plane of sums.
template <class T>
void scatter_plane(const Windows& windows, const T* x, const T* filter, Wide<T>* sums) {
  const auto& [depth, height, width] = windows.axes;
  const auto target = [](const WindowAxis& axis, std::int64_t i, std::int64_t k) {
    const std::int64_t o = i * axis.stride - axis.pad_begin + k * axis.dilation;
    return o < axis.output ? o : -1;
  };
  for (std::int64_t i = 0; i < windows.inputs(); ++i) {
    const std::int64_t w = i % width.input;
    const std::int64_t h = i / width.input % height.input;
    const std::int64_t d = i / width.input / height.input;
    for (std::int64_t k = 0; k < windows.taps(); ++k) {
      const std::int64_t to_w = target(width, w, k % width.kernel);
      const std::int64_t to_h = target(height, h, k / width.kernel % height.kernel);
      const std::int64_t to_d = target(depth, d, k / width.kernel / height.kernel);
      if (to_w < 0 || to_h < 0 || to_d < 0) continue;
      sums[(to_d * height.output + to_h) * width.output + to_w] += widen(x[i]) * widen(filter[k]);
    }
  }
}

void reference_conv_transpose(EvalContext& c) {
  const ConvGeometry g = conv_transpose_geometry(c, c.input(0).shape(), c.input(1).shape());
  dispatch_floating(c, c.input(0).type(), [&]<class T>(T) {
    const T* x = c.input(0).data<T>().data();
    const T* w = c.input(1).data<T>().data();
    const std::span<const T> bias = bias_of<T>(c);
    T* y = c.output(0).data<T>().data();
    const std::int64_t outputs = g.windows.outputs();
    std::vector<Wide<T>> sums(static_cast<std::size_t>(outputs));
    for (std::int64_t n = 0; n < g.batch; ++n) {
      for (std::int64_t m = 0; m < g.out_channels; ++m) {
        sums.assign(sums.size(), bias.empty() ? Wide<T>{} : widen(bias[static_cast<std::size_t>(m)]));
        const std::int64_t first = m / g.out_per_group() * g.in_per_group();
        for (std::int64_t channel = first; channel < first + g.in_per_group(); ++channel) {
          scatter_plane(g.windows, x + (n * g.in_channels + channel) * g.windows.inputs(),
                        w + (channel * g.out_per_group() + m % g.out_per_group()) * g.windows.taps(),
                        sums.data());
        }
        for (const Wide<T> sum : sums) *y++ = narrow<T>(sum);
      }
    }
  });
}

}  // namespace

void add_conv_operators(OperatorList& list) {
  list.push_back({.name = "Conv",
                  .versions = {1, 11, 22},
                  .check = check_auto_pad,
                  .infer = infer<conv_geometry>,
                  .reference = reference_conv,
                  .flops = conv_flops,
                  .fuses = {.activation = true, .residual = true}});
  list.push_back({.name = "ConvTranspose",
                  .versions = {1, 11, 22},
                  .check = check_auto_pad,
                  .infer = infer<conv_transpose_geometry>,
                  .reference = reference_conv_transpose,
                  .flops = conv_transpose_flops,
                  .fuses = {.activation = true}});
}

}  // namespace ember::ops
