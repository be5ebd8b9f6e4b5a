#include <cstddef>
#include <vector>

#include <fmt/format.h>

#include "ops/conv_geometry.hpp"
#include "surgery/rule.hpp"
#include "surgery/surgeon.hpp"

// Conv and ConvTranspose. Without groups an input channel is a column of the weights, an output channel a
// row. A group that reads one channel ("depthwise") lives and dies with it. Wider groups go as a whole, or
// all of them lose as many channels.

namespace ember::surgery {

namespace {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;
using ops::ConvGeometry;
using ops::NodeContext;

constexpr const char* kSlides = "a window slides along this axis";

ConvGeometry geometry_of(const NodeContext& context, const Shape& x, const Shape& w) {
  return context.op() == "Conv" ? ops::conv_geometry(context, x, w)
                                : ops::conv_transpose_geometry(context, x, w);
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
  surgeon.add_to_bias(read.node, 2, added, 1, 1.0);
}

/// What all convolutions have: the batch passes, windows slide, output channels own bias elements.
void link_frame(Linker& linker) {
  const ValueId x = linker.input(0);
  const ValueId w = linker.input(1);
  const ValueId y = linker.output(0);
  linker.join(x, 0, y, 0);
  for (int axis = 2; axis < linker.shape(x).rank(); ++axis) {
    linker.freeze_axis(x, axis, kSlides);
    linker.freeze_axis(y, axis, kSlides);
    linker.freeze_axis(w, axis, kSlides);
  }
  if (linker.input(2) != kNoValue) linker.join(linker.input(2), 0, y, 1);
}

void link_depthwise(Linker& linker, const ConvGeometry& geometry) {
  const std::int64_t each = geometry.out_per_group();
  const bool transposed = linker.context().op() == "ConvTranspose";
  for (std::int64_t c = 0; c < geometry.in_channels; ++c) {
    linker.join(linker.input(0), 1, c, linker.input(1), 0, transposed ? c : c * each, 1);
    for (std::int64_t o = c * each; o < (c + 1) * each; ++o) {
      linker.join(linker.input(0), 1, c, linker.output(0), 1, o, 1);
      if (!transposed) linker.join(linker.input(1), 0, o, linker.output(0), 1, o, 1);
    }
  }
  linker.freeze_axis(linker.input(1), 1, "every group has this axis in common");
}

/// Weights cut group by group must be the node's own.
bool owns_weights(Linker& linker) {
  const graph::Graph& graph = linker.facts().graph();
  const ValueId w = linker.input(1);
  return graph.constant(w) != nullptr && graph.users(w).size() == 1 && !graph.is_output(w);
}

void link_groups(Linker& linker, const ConvGeometry& geometry, LinearRead read) {
  const ValueId w = linker.input(1);
  linker.freeze_axis(w, 1, "every group has this axis in common");
  if (!owns_weights(linker)) {
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

LinearRead read_of(Linker& linker, const ConvGeometry& geometry) {
  LinearRead read;
  read.node = linker.context().id();
  read.inputs = linker.slot(linker.input(0), 1);
  read.count = geometry.in_channels;
  read.outputs = linker.slot(linker.output(0), 1);
  read.output_count = geometry.out_channels;
  read.weights = linker.facts().known(linker.input(1));
  read.groups = geometry.groups;
  read.taps = geometry.windows.taps();
  read.fold = fold_into_bias;
  const bool bias_known = linker.input(2) == kNoValue || linker.facts().known(linker.input(2)) != nullptr;
  if (!bias_known) read.no_fold = "its bias is computed";
  return read;
}

void link_conv(Linker& linker) {
  const ConvGeometry geometry =
      geometry_of(linker.context(), linker.shape(linker.input(0)), linker.shape(linker.input(1)));
  link_frame(linker);
  if (geometry.groups > 1 && geometry.in_per_group() == 1) return link_depthwise(linker, geometry);
  LinearRead read = read_of(linker, geometry);
  if (reads_padding(geometry)) {
    read.no_fold =
        "it pads with zeros, so that the constant is missing at the borders and no bias can replace it";
  }
  if (geometry.groups > 1) return link_groups(linker, geometry, std::move(read));
  linker.join(linker.input(1), 0, linker.output(0), 1);
  linker.join(linker.input(1), 1, linker.input(0), 1);
  read.in_stride = read.taps;
  read.out_stride = geometry.in_channels * read.taps;
  linker.structure().reads.push_back(std::move(read));
}

void link_conv_transpose(Linker& linker) {
  const ConvGeometry geometry =
      geometry_of(linker.context(), linker.shape(linker.input(0)), linker.shape(linker.input(1)));
  link_frame(linker);
  if (geometry.groups > 1 && geometry.in_per_group() == 1) return link_depthwise(linker, geometry);
  if (geometry.groups > 1) return linker.freeze_all("a transposed convolution in groups is not cut");
  LinearRead read = read_of(linker, geometry);
  if (geometry.windows.taps() > 1 || geometry.output_shape().elements() !=
                                         geometry.batch * geometry.out_channels * geometry.windows.inputs())
    read.no_fold = "its taps meet the outputs unevenly, so that no bias can replace the constant";
  linker.join(linker.input(1), 1, linker.output(0), 1);
  linker.join(linker.input(1), 0, linker.input(0), 1);
  read.in_stride = geometry.out_channels * read.taps;
  read.out_stride = read.taps;
  linker.structure().reads.push_back(std::move(read));
}

/// The constant an output channel has when all it reads is constant; nullopt and perhaps a reason otherwise.
struct Sum {
  double value = 0.0;
  bool constant = true;
  bool padded = false;  ///< it would be constant, but for the padding
};

void flow_conv(Flow& flow) {
  const ValueId x = flow.input(0);
  const ValueId y = flow.output(0);
  const Tensor* weights = flow.facts().known(flow.input(1));
  const ValueId bias = flow.input(2);
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
  for (std::int64_t o = 0; o < geometry.out_channels; ++o) {
    Sum sum{.value = bias == kNoValue ? 0.0 : number_at(*flow.facts().known(bias), o)};
    const std::int64_t first = o / geometry.out_per_group() * geometry.in_per_group();
    for (std::int64_t i = first; i < first + geometry.in_per_group() && sum.constant; ++i) {
      const auto constant = flow.of(x, 1, i);
      if (constant == 0.0 || !read.connects(i, o)) continue;
      sum.constant = constant.has_value();
      sum.padded = sum.padded || uneven;
      if (sum.constant) sum.value += *constant * read.weight(i, o);
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
  const ValueId x = node.inputs[0];
  const ValueId w = node.inputs[1];
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
  surgeon.set_constant_input(id, 1, tensor_of(weights.type(), Shape(dims), elements),
                             surgeon.graph().value(w).name);
  set_groups(surgeon, id, groups);
}

void edit_conv(Surgeon& surgeon, NodeId id) {
  const NodeContext context(surgeon.facts().graph(), id);
  const graph::Node& node = context.node();
  const Shape* x = surgeon.facts().shape(node.inputs[0]);
  const Shape* w = surgeon.facts().shape(node.inputs[1]);
  if (x == nullptr || w == nullptr || context.integer("group", 1) == 1) return;
  const ConvGeometry geometry = geometry_of(context, *x, *w);
  if (geometry.in_per_group() == 1)
    set_groups(surgeon, id, surgeon.kept_in(node.inputs[0], 1, 0, geometry.in_channels));
  else if (context.op() == "Conv") cut_groups(surgeon, id, geometry);
}

constexpr Rule kRules[] = {
    {.op = "Conv", .link = link_conv, .flow = flow_conv, .edit = edit_conv},
    {.op = "ConvTranspose", .link = link_conv_transpose, .flow = flow_conv, .edit = edit_conv},
};

}  // namespace

std::span<const Rule> convolution_rules() { return kRules; }

}  // namespace ember::surgery
