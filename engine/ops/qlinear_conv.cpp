#include <cmath>

#include <fmt/format.h>

#include "ops/conv_geometry.hpp"
#include "ops/quantization.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// QLinearConv and ConvInteger. Padding stands for the input's zero point, so padded taps add nothing
// once zero points are taken off.

namespace ember::ops {

namespace {

struct QuantisedConv {
  int x, w, zero_x, zero_w;  ///< input indices
};
constexpr QuantisedConv kQLinear{0, 3, 2, 5};
constexpr QuantisedConv kInteger{0, 1, 2, 3};
// Further inputs of QLinearConv.
constexpr int kScaleX = 1, kScaleW = 4, kScaleY = 6, kZeroY = 7, kBias = 8;

bool is_8_bits(DataType type) { return type == DataType::Int8 || type == DataType::UInt8; }

ConvGeometry checked_geometry(const InferContext& c, const QuantisedConv& inputs) {
  const ConvGeometry g = conv_geometry(c, c.shape(inputs.x), c.shape(inputs.w));
  c.require(is_8_bits(c.type(inputs.x)) && is_8_bits(c.type(inputs.w)),
            "input and weights must be 8-bit integers");
  if (c.has_input(inputs.zero_x))
    c.require(c.shape(inputs.zero_x).elements() == 1, "the input's zero point must be one value");
  if (c.has_input(inputs.zero_w)) {
    const std::int64_t held = c.shape(inputs.zero_w).elements();
    c.require(held == 1 || held == g.out_channels,
              fmt::format("{} weight zero points for {} channels", held, g.out_channels));
  }
  return g;
}

void infer_integer(InferContext& c) {
  c.set_output(0, DataType::Int32, checked_geometry(c, kInteger).output_shape());
}

void infer_qlinear(InferContext& c) {
  const ConvGeometry g = checked_geometry(c, kQLinear);
  c.require(is_8_bits(c.type(kZeroY)), "the output's zero point must be an 8-bit integer");
  for (const int i : {kScaleX, kScaleY, kZeroY})
    c.require(c.shape(i).elements() == 1, fmt::format("input {} must be one value", i));
  const std::int64_t scales = c.shape(kScaleW).elements();
  c.require(scales == 1 || scales == g.out_channels,
            fmt::format("{} weight scales for {} channels", scales, g.out_channels));
  if (c.has_input(kBias)) {
    c.require(c.type(kBias) == DataType::Int32 && c.shape(kBias) == Shape{g.out_channels},
              fmt::format("a bias of {} {} for {} channels", to_string(c.type(kBias)),
                          to_string(c.shape(kBias)), g.out_channels));
  }
  c.set_output(0, c.type(kZeroY), g.output_shape());
}

template <class F>
void dispatch_8_bits(DataType type, F&& f) {
  if (type == DataType::Int8) f(std::int8_t{});
  else f(std::uint8_t{});
}

/// Exact sums of (x − zero)(w − zero): result(output index, channel, sum).
template <class Result>
void convolve(const EvalContext& c, const ConvGeometry& g, const QuantisedConv& inputs, Result&& result) {
  const ConstTensorView* zero_x = c.has_input(inputs.zero_x) ? &c.input(inputs.zero_x) : nullptr;
  const ConstTensorView* zero_w = c.has_input(inputs.zero_w) ? &c.input(inputs.zero_w) : nullptr;
  const std::int64_t from_x = zero_point_at(zero_x, 0);
  dispatch_8_bits(c.input(inputs.x).type(), [&]<class X>(X) {
    dispatch_8_bits(c.input(inputs.w).type(), [&]<class W>(W) {
      const X* x = c.input(inputs.x).data<X>().data();
      const W* w = c.input(inputs.w).data<W>().data();
      for_each_conv_output(g, [&](std::int64_t at, std::int64_t channel, auto&& taps) {
        const bool per_channel = zero_w != nullptr && zero_w->elements() > 1;
        const std::int64_t from_w = zero_point_at(zero_w, per_channel ? channel : 0);
        std::int64_t sum = 0;
        taps([&](std::int64_t i, std::int64_t k) { sum += (x[i] - from_x) * (w[k] - from_w); });
        result(at, channel, sum);
      });
    });
  });
}

void reference_integer(EvalContext& c) {
  const ConvGeometry g = conv_geometry(c, c.input(0).shape(), c.input(1).shape());
  const auto y = c.output(0).data<std::int32_t>();
  convolve(c, g, kInteger, [&](std::int64_t at, std::int64_t, std::int64_t sum) {
    y[static_cast<std::size_t>(at)] = static_cast<std::int32_t>(sum);
  });
}

void reference_qlinear(EvalContext& c) {
  const ConvGeometry g = conv_geometry(c, c.input(kQLinear.x).shape(), c.input(kQLinear.w).shape());
  const auto scale_w = c.input(kScaleW).data<float>();
  const float scale_x = c.input(kScaleX).data<float>()[0];
  const float scale_y = c.input(kScaleY).data<float>()[0];
  const std::int32_t zero_y = zero_point_at(&c.input(kZeroY), 0);
  const std::span<const std::int32_t> bias =
      c.has_input(kBias) ? c.input(kBias).data<std::int32_t>() : std::span<const std::int32_t>();
  dispatch_8_bits(c.output(0).type(), [&]<class Y>(Y) {
    const auto y = c.output(0).data<Y>();
    convolve(c, g, kQLinear, [&](std::int64_t at, std::int64_t channel, std::int64_t sum) {
      const auto m = static_cast<std::size_t>(channel);
      const float factor = scale_x * scale_w[scale_w.size() > 1 ? m : 0] / scale_y;
      const std::int64_t total = sum + (bias.empty() ? 0 : bias[m]);
      y[static_cast<std::size_t>(at)] =
          saturate<Y>(std::nearbyint(static_cast<double>(total) * static_cast<double>(factor)), zero_y);
    });
  });
}

template <const QuantisedConv& kInputs>
double flops(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape>) {
  return conv_geometry(node, inputs[static_cast<std::size_t>(kInputs.x)],
                       inputs[static_cast<std::size_t>(kInputs.w)])
      .conv_flops();
}

}  // namespace

void add_quantised_conv_operators(OperatorList& list) {
  list.push_back({.name = "ConvInteger",
                  .versions = {10},
                  .check = check_auto_pad,
                  .infer = infer_integer,
                  .reference = reference_integer,
                  .flops = flops<kInteger>});
  list.push_back({.name = "QLinearConv",
                  .versions = {10},
                  .check = check_auto_pad,
                  .infer = infer_qlinear,
                  .reference = reference_qlinear,
                  .flops = flops<kQLinear>});
}

}  // namespace ember::ops
