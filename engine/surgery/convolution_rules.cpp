#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ops/conv_geometry.hpp"
#include "ops/quantization.hpp"
#include "surgery/rule.hpp"
#include "surgery/surgeon.hpp"

// Conv, ConvTranspose, QLinearConv and ConvInteger. Without groups an input channel is a column of the
// weights, an output channel a row. A group that reads one channel ("depthwise") lives and dies with it.
// Wider groups go as a whole, or all of them lose as many channels.

namespace ember::surgery {

namespace {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;
using ops::ConvGeometry;
using ops::NodeContext;

constexpr const char* kSlides = "a window slides along this axis";

/// Which inputs of the node are which; -1: it has no such input.
struct Inputs {
  int x = 0, w = 1, bias = 2, zero_x = -1, zero_w = -1;
  int scale_x = -1, scale_w = -1, scale_y = -1, zero_y = -1;
};

Inputs inputs_of(std::string_view op) {
  if (op == "QLinearConv") {
    return {.x = 0,
            .w = 3,
            .bias = 8,
            .zero_x = 2,
            .zero_w = 5,
            .scale_x = 1,
            .scale_w = 4,
            .scale_y = 6,
            .zero_y = 7};
  }
  if (op == "ConvInteger") return {.x = 0, .w = 1, .bias = -1, .zero_x = 2, .zero_w = 3};
  return {};
}

ConvGeometry geometry_of(const NodeContext& context, const Shape& x, const Shape& w) {
  return context.op() == "ConvTranspose" ? ops::conv_transpose_geometry(context, x, w)
                                         : ops::conv_geometry(context, x, w);
}

/// Some window reaches into the padding, where a channel is 0 whatever it is elsewhere.
bool reads_padding(const ConvGeometry& geometry) {
  for (const ops::WindowAxis& axis : geometry.windows.axes) {
    if (axis.pad_begin > 0) return true;
    if ((axis.output - 1) * axis.stride - axis.pad_begin + axis.extent() > axis.input) return true;
  }
  return false;
}

void fold_into_bias(Surgeon& surgeon, const LinearRead& read, std::span<const double> added) {
  const std::string_view op = surgeon.facts().graph().node(read.node).op;
  surgeon.add_to_bias(read.node, inputs_of(op).bias, added, 1, 1.0,
                      op == "QLinearConv" ? DataType::Int32 : DataType::Undefined);
}

/// What all convolutions have: the batch passes, windows slide, output channels own bias elements.
void link_frame(Linker& linker, const Inputs& in) {
  const ValueId x = linker.input(in.x);
  const ValueId w = linker.input(in.w);
  const ValueId y = linker.output(0);
  linker.join(x, 0, y, 0);
  for (int axis = 2; axis < linker.shape(x).rank(); ++axis) {
    linker.freeze_axis(x, axis, kSlides);
    linker.freeze_axis(y, axis, kSlides);
    linker.freeze_axis(w, axis, kSlides);
  }
  for (const int i : {in.bias, in.scale_w, in.zero_w}) {
    const ValueId parameter = linker.input(i);
    if (parameter == kNoValue || linker.shape(parameter).rank() != 1) continue;
    if (i == in.bias || linker.shape(parameter)[0] > 1) linker.join(parameter, 0, y, 1);
  }
}

void link_depthwise(Linker& linker, const Inputs& in, const ConvGeometry& geometry) {
  const ValueId x = linker.input(in.x);
  const ValueId w = linker.input(in.w);
  const std::int64_t each = geometry.out_per_group();
  const bool transposed = linker.context().op() == "ConvTranspose";
  for (std::int64_t c = 0; c < geometry.in_channels; ++c) {
    linker.join(x, 1, c, w, 0, transposed ? c : c * each, 1);
    for (std::int64_t o = c * each; o < (c + 1) * each; ++o) {
      linker.join(x, 1, c, linker.output(0), 1, o, 1);
      if (!transposed) linker.join(w, 0, o, linker.output(0), 1, o, 1);
    }
  }
  linker.freeze_axis(w, 1, "every group has this axis in common");
}

void link_groups(Linker& linker, ValueId w, const ConvGeometry& geometry, LinearRead read) {
  linker.freeze_axis(w, 1, "every group has this axis in common");
  // Weights cut group by group must be the node's own.
  if (!linker.owns(w)) {
    linker.freeze_all("its groups' weights are computed, or used elsewhere too");
    return;
  }
  linker.join(w, 0, linker.output(0), 1);
  read.in_local = true;
  read.in_stride = geometry.windows.taps();
  read.out_stride = geometry.in_per_group() * geometry.windows.taps();
  linker.structure().reads.push_back(read);
  linker.structure().grouped.push_back({.node = linker.context().id(),
                                        .inputs = read.inputs,
                                        .outputs = read.outputs,
                                        .groups = geometry.groups,
                                        .inputs_per_group = geometry.in_per_group(),
                                        .outputs_per_group = geometry.out_per_group()});
}

/// One number for all, or one per channel; an input that is left out is 0. nullopt: only a run can tell.
std::optional<std::vector<double>> zeros_of(const Facts& facts, ValueId value) {
  if (value == kNoValue) return std::vector<double>();
  const Tensor* known = facts.known(value);
  if (known == nullptr) return std::nullopt;
  std::vector<double> zeros;
  for (std::int64_t i = 0; i < known->elements(); ++i) zeros.push_back(number_at(*known, i));
  return zeros;
}

/// What a quantised convolution takes off its operands. False: a run decides that.
bool take_zeros(const Facts& facts, ValueId zero_x, ValueId zero_w, LinearRead& read) {
  const auto of_x = zeros_of(facts, zero_x);
  const auto of_w = zeros_of(facts, zero_w);
  read.zero = !of_x.has_value() ? NAN : of_x->empty() ? 0.0 : of_x->front();
  if (of_w.has_value()) read.weight_zeros = *of_w;
  return of_x.has_value() && of_w.has_value();
}

LinearRead read_of(Linker& linker, const Inputs& in, const ConvGeometry& geometry) {
  LinearRead read;
  read.node = linker.context().id();
  read.inputs = linker.slot(linker.input(in.x), 1);
  read.count = geometry.in_channels;
  read.outputs = linker.slot(linker.output(0), 1);
  read.output_count = geometry.out_channels;
  read.weights = linker.facts().known(linker.input(in.w));
  read.groups = geometry.groups;
  read.taps = geometry.windows.taps();
  read.fold = fold_into_bias;
  const ValueId bias = linker.input(in.bias);
  if (bias != kNoValue && linker.facts().known(bias) == nullptr) read.no_fold = "its bias is computed";
  if (in.bias < 0) read.no_fold = "it has no bias";
  if (!take_zeros(linker.facts(), linker.input(in.zero_x), linker.input(in.zero_w), read))
    read.weights = nullptr;
  return read;
}

void link_conv(Linker& linker) {
  const Inputs in = inputs_of(linker.context().op());
  const ValueId x = linker.input(in.x);
  const ValueId w = linker.input(in.w);
  const ConvGeometry geometry = geometry_of(linker.context(), linker.shape(x), linker.shape(w));
  link_frame(linker, in);
  if (geometry.groups > 1 && geometry.in_per_group() == 1) return link_depthwise(linker, in, geometry);
  LinearRead read = read_of(linker, in, geometry);
  if (reads_padding(geometry)) {
    read.no_fold =
        "it pads with zeros, so that the constant is missing at the borders and no bias can replace it";
  }
  if (geometry.groups > 1) return link_groups(linker, w, geometry, std::move(read));
  linker.join(w, 0, linker.output(0), 1);
  linker.join(w, 1, x, 1);
  read.in_stride = read.taps;
  read.out_stride = geometry.in_channels * read.taps;
  read.own_weights = linker.own_weights(w);
  linker.structure().reads.push_back(std::move(read));
}

void link_conv_transpose(Linker& linker) {
  const ConvGeometry geometry =
      geometry_of(linker.context(), linker.shape(linker.input(0)), linker.shape(linker.input(1)));
  const Inputs in;
  link_frame(linker, in);
  if (geometry.groups > 1 && geometry.in_per_group() == 1) return link_depthwise(linker, in, geometry);
  if (geometry.groups > 1) return linker.freeze_all("a transposed convolution in groups is not cut");
  LinearRead read = read_of(linker, in, geometry);
  if (geometry.windows.taps() > 1 || geometry.output_shape().elements() !=
                                         geometry.batch * geometry.out_channels * geometry.windows.inputs())
    read.no_fold = "its taps meet the outputs unevenly, so that no bias can replace the constant";
  linker.join(linker.input(1), 1, linker.output(0), 1);
  linker.join(linker.input(1), 0, linker.input(0), 1);
  read.in_stride = geometry.out_channels * read.taps;
  read.out_stride = read.taps;
  read.own_weights = linker.own_weights(linker.input(1));
  linker.structure().reads.push_back(std::move(read));
}

/// The constant an output channel has when all it reads is constant; nullopt and perhaps a reason otherwise.
struct Sum {
  double value = 0.0;
  bool constant = true;
  bool padded = false;  ///< it would be constant, but for the padding
};

/// What QLinearConv stores of an exact sum; nullopt when its scales are computed.
std::optional<double> requantised(const Flow& flow, const Inputs& in, std::int64_t channel, double sum) {
  const auto parameter = [&](int i) -> std::optional<double> {
    const Tensor* known = flow.facts().known(flow.input(i));
    if (known == nullptr) return std::nullopt;
    return number_at(*known, known->elements() > 1 ? channel : 0);
  };
  const auto scale_x = parameter(in.scale_x);
  const auto scale_w = parameter(in.scale_w);
  const auto scale_y = parameter(in.scale_y);
  const auto zero_y = parameter(in.zero_y);
  if (!scale_x || !scale_w || !scale_y || !zero_y) return std::nullopt;
  const float factor =
      static_cast<float>(*scale_x) * static_cast<float>(*scale_w) / static_cast<float>(*scale_y);
  const double rounded = std::nearbyint(sum * static_cast<double>(factor));
  const auto zero = static_cast<std::int32_t>(*zero_y);
  return flow.facts().type(flow.output(0)) == DataType::Int8
             ? static_cast<double>(ops::saturate<std::int8_t>(rounded, zero))
             : static_cast<double>(ops::saturate<std::uint8_t>(rounded, zero));
}

void flow_conv(Flow& flow) {
  const Inputs in = inputs_of(flow.context().op());
  const ValueId x = flow.input(in.x);
  const ValueId y = flow.output(0);
  const Tensor* weights = flow.facts().known(flow.input(in.w));
  const ValueId bias = flow.input(in.bias);
  if (weights == nullptr || (bias != kNoValue && flow.facts().known(bias) == nullptr)) return;
  const ConvGeometry geometry = geometry_of(flow.context(), flow.shape(x), weights->shape());
  const bool transposed = flow.context().op() == "ConvTranspose";
  const bool uneven =
      transposed ? geometry.windows.taps() > 1 || geometry.windows.inputs() != geometry.windows.outputs()
                 : reads_padding(geometry);
  LinearRead read;
  read.count = geometry.in_channels;
  read.output_count = geometry.out_channels;
  read.groups = geometry.groups;
  read.taps = geometry.windows.taps();
  read.weights = weights;
  read.in_local = !transposed;
  read.out_local = transposed;
  read.in_stride = transposed ? geometry.out_per_group() * read.taps : read.taps;
  read.out_stride = transposed ? read.taps : geometry.in_per_group() * read.taps;
  if (!take_zeros(flow.facts(), flow.input(in.zero_x), flow.input(in.zero_w), read)) return;
  for (std::int64_t o = 0; o < geometry.out_channels; ++o) {
    Sum sum{.value = bias == kNoValue ? 0.0 : number_at(*flow.facts().known(bias), o)};
    const std::int64_t first = o / geometry.out_per_group() * geometry.in_per_group();
    for (std::int64_t i = first; i < first + geometry.in_per_group() && sum.constant; ++i) {
      const auto constant = flow.of(x, 1, i);
      if (constant == read.zero || !read.connects(i, o)) continue;
      sum.constant = constant.has_value();
      sum.padded = sum.padded || uneven;
      if (sum.constant) sum.value += (*constant - read.zero) * read.weight(i, o);
    }
    if (sum.constant && in.scale_y >= 0) {
      const auto stored = requantised(flow, in, o, sum.value);
      sum.constant = stored.has_value();
      sum.value = stored.value_or(0.0);
    }
    if (sum.constant && !sum.padded) {
      flow.set(y, 1, o, sum.value);
    } else if (sum.constant) {
      flow.lose(y, 1, o, "it pads with zeros, so that what it makes of a constant differs at the borders");
    }
  }
}

void set_groups(Surgeon& surgeon, NodeId id, std::int64_t groups) {
  surgeon.graph().node(id).attributes["group"] = groups;
}

/// Weights of groups that keep different channels: cut one group at a time.
void cut_groups(Surgeon& surgeon, NodeId id, const ConvGeometry& geometry) {
  const graph::Node& node = surgeon.facts().graph().node(id);
  const Inputs inputs_at = inputs_of(node.op);
  const ValueId x = node.inputs[static_cast<std::size_t>(inputs_at.x)];
  const ValueId w = node.inputs[static_cast<std::size_t>(inputs_at.w)];
  const ValueId y = node.outputs[0];
  if (!surgeon.touches(x, 1) && !surgeon.touches(y, 1)) return;
  const std::int64_t in = geometry.in_per_group();
  const std::int64_t out = geometry.out_per_group();
  const std::int64_t taps = geometry.windows.taps();
  const Tensor& weights = *surgeon.facts().known(w);
  std::vector<double> elements;
  std::int64_t groups = 0;
  std::int64_t inputs = 0;
  std::int64_t outputs = 0;
  for (std::int64_t g = 0; g < geometry.groups; ++g) {
    const std::int64_t kept_outputs = surgeon.kept_in(y, 1, g * out, (g + 1) * out);
    if (kept_outputs == 0) continue;
    ++groups;
    outputs += kept_outputs;
    inputs = surgeon.kept_in(x, 1, g * in, (g + 1) * in);
    for (std::int64_t o = g * out; o < (g + 1) * out; ++o) {
      for (std::int64_t i = 0; i < in; ++i) {
        if (surgeon.removed(y, 1, o) || surgeon.removed(x, 1, g * in + i)) continue;
        for (std::int64_t t = 0; t < taps; ++t)
          elements.push_back(number_at(weights, (o * in + i) * taps + t));
      }
    }
  }
  std::vector<std::int64_t> dims(weights.shape().begin(), weights.shape().end());
  dims[0] = outputs;
  dims[1] = inputs;
  surgeon.set_constant_input(id, inputs_at.w, tensor_of(weights.type(), Shape(dims), elements),
                             surgeon.graph().value(w).name);
  set_groups(surgeon, id, groups);
}

void edit_conv(Surgeon& surgeon, NodeId id) {
  const NodeContext context(surgeon.facts().graph(), id);
  const graph::Node& node = context.node();
  const Inputs in = inputs_of(context.op());
  const ValueId input = node.inputs[static_cast<std::size_t>(in.x)];
  const Shape* x = surgeon.facts().shape(input);
  const Shape* w = surgeon.facts().shape(node.inputs[static_cast<std::size_t>(in.w)]);
  if (x == nullptr || w == nullptr || context.integer("group", 1) == 1) return;
  const ConvGeometry geometry = geometry_of(context, *x, *w);
  if (geometry.in_per_group() == 1)
    set_groups(surgeon, id, surgeon.kept_in(input, 1, 0, geometry.in_channels));
  else if (context.op() != "ConvTranspose") cut_groups(surgeon, id, geometry);
}

constexpr Rule kRules[] = {
    {.op = "Conv", .link = link_conv, .flow = flow_conv, .edit = edit_conv},
    {.op = "ConvTranspose", .link = link_conv_transpose, .flow = flow_conv, .edit = edit_conv},
    {.op = "QLinearConv", .link = link_conv, .flow = flow_conv, .edit = edit_conv},
    {.op = "ConvInteger", .link = link_conv, .flow = flow_conv, .edit = edit_conv},
};

}  // namespace

std::span<const Rule> convolution_rules() { return kRules; }

}  // namespace ember::surgery
