#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "ops/broadcast_walk.hpp"
#include "ops/doubles.hpp"
#include "ops/registry.hpp"
#include "ops/type_set.hpp"

// BatchNormalization, InstanceNormalization, GroupNormalization, LayerNormalization and
// RMSNormalization: subtract a mean, divide by a deviation, scale and shift.

namespace ember::ops {

namespace {

struct Moments {
  double mean = 0;
  double variance = 0;
};

Moments moments(const double* x, std::int64_t count) {
  Moments m;
  for (std::int64_t i = 0; i < count; ++i) m.mean += x[i];
  m.mean /= static_cast<double>(count);
  for (std::int64_t i = 0; i < count; ++i) m.variance += (x[i] - m.mean) * (x[i] - m.mean);
  m.variance /= static_cast<double>(count);
  return m;
}

void require_vector(const InferContext& c, int i, std::int64_t length, const char* what) {
  require_type(c, i, TypeSet::Floating);
  c.require(c.shape(i) == Shape{length},
            fmt::format("input {} must hold one number per {}: its shape is {}, wanted [{}]", i, what,
                        to_string(c.shape(i)), length));
}

/// Axis 1; a tensor of rank 1 counts as one channel.
std::int64_t channels_of(const Shape& shape) { return shape.rank() < 2 ? 1 : shape[1]; }

// ---- BatchNormalization

void check_batch_normalization(const NodeContext& c, std::vector<std::string>& reasons) {
  if (c.integer("training_mode", 0) != 0) reasons.emplace_back("training mode; only inference is run");
  if (c.integer("spatial", 1) != 1) reasons.emplace_back("spatial = 0");
  for (int i = 1; i < c.output_count(); ++i) {
    if (c.has_output(i)) {
      reasons.emplace_back("outputs of the training mode; only inference is run");
      break;
    }
  }
}

void infer_batch_normalization(InferContext& c) {
  require_type(c, 0, TypeSet::Floating);
  c.require(c.shape(0).rank() >= 1, "the input must have a batch axis");
  for (int i = 1; i <= 4; ++i) require_vector(c, i, channels_of(c.shape(0)), "channel");
  c.set_output(0, c.type(0), c.shape(0));
}

void reference_batch_normalization(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const double epsilon = double{c.real("epsilon", 1e-5F)};
  const std::vector<double> scale = to_doubles(c, c.input(1));
  const std::vector<double> shift = to_doubles(c, c.input(2));
  const std::vector<double> mean = to_doubles(c, c.input(3));
  const std::vector<double> variance = to_doubles(c, c.input(4));
  std::vector<double> x = to_doubles(c, c.input(0));
  const auto positions = static_cast<std::size_t>(shape.elements(std::min(2, shape.rank()), shape.rank()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t channel = i / positions % scale.size();
    x[i] = (x[i] - mean[channel]) / std::sqrt(variance[channel] + epsilon) * scale[channel] + shift[channel];
  }
  from_doubles(c, x, c.output(0));
}

// ---- InstanceNormalization and GroupNormalization

void infer_instance_normalization(InferContext& c) {
  require_type(c, 0, TypeSet::Floating);
  c.require(c.shape(0).rank() >= 2, "the input must have a batch and a channel axis");
  for (int i = 1; i <= 2; ++i) require_vector(c, i, c.shape(0)[1], "channel");
  c.set_output(0, c.type(0), c.shape(0));
}

std::int64_t groups_of(const NodeContext& c, const Shape& shape) {
  const std::int64_t groups = c.integer("num_groups", 0);
  c.require(groups >= 1 && shape[1] % groups == 0,
            fmt::format("{} channels cannot be split into num_groups = {}", shape[1], groups));
  return groups;
}

void infer_group_normalization(InferContext& c) {
  require_type(c, 0, TypeSet::Floating);
  c.require(c.shape(0).rank() >= 2, "the input must have a batch and a channel axis");
  const std::int64_t groups = groups_of(c, c.shape(0));
  // Until opset 21 scale and bias were per group.
  for (int i = 1; i <= 2; ++i)
    require_vector(c, i, c.opset() < 21 ? groups : c.shape(0)[1], c.opset() < 21 ? "group" : "channel");
  c.set_output(0, c.type(0), c.shape(0));
}

/// Normalises each of `groups` runs of channels of each sample.
void normalize_groups(EvalContext& c, std::int64_t groups) {
  const Shape& shape = c.input(0).shape();
  const double epsilon = double{c.real("epsilon", 1e-5F)};
  const std::vector<double> scale = to_doubles(c, c.input(1));
  const std::vector<double> bias = to_doubles(c, c.input(2));
  std::vector<double> x = to_doubles(c, c.input(0));
  if (x.empty()) return;
  const std::int64_t positions = shape.elements(2, shape.rank());
  const std::int64_t run = shape[1] / groups * positions;
  const bool per_group = static_cast<std::int64_t>(scale.size()) != shape[1];
  for (std::int64_t g = 0; g < shape[0] * groups; ++g) {
    double* values = x.data() + g * run;
    const Moments m = moments(values, run);
    const double deviation = std::sqrt(m.variance + epsilon);
    for (std::int64_t i = 0; i < run; ++i) {
      const std::int64_t channel = g % groups * (shape[1] / groups) + i / positions;
      const auto at = static_cast<std::size_t>(per_group ? g % groups : channel);
      values[i] = (values[i] - m.mean) / deviation * scale[at] + bias[at];
    }
  }
  from_doubles(c, x, c.output(0));
}

void reference_instance_normalization(EvalContext& c) { normalize_groups(c, c.input(0).shape()[1]); }
void reference_group_normalization(EvalContext& c) { normalize_groups(c, groups_of(c, c.input(0).shape())); }

// ---- LayerNormalization and RMSNormalization

int normalized_axis(const NodeContext& c, const Shape& shape) {
  return normalize_axis(c, c.integer("axis", -1), shape.rank());
}

void require_fits(const InferContext& c, int i) {
  require_type(c, i, TypeSet::Floating);
  c.require(broadcast(c, c.shape(0), c.shape(i)) == c.shape(0),
            fmt::format("input {} of shape {} does not broadcast to {}", i, to_string(c.shape(i)),
                        to_string(c.shape(0))));
}

void infer_layer_normalization(InferContext& c) {
  require_type(c, 0, TypeSet::Floating);
  const int axis = normalized_axis(c, c.shape(0));
  for (int i = 1; i <= 2; ++i)
    if (c.has_input(i)) require_fits(c, i);
  if (c.op() == "RMSNormalization") {
    c.set_output(0, c.type(1), c.shape(0));  // the scale decides
    return;
  }
  c.set_output(0, c.type(0), c.shape(0));
  Shape statistics = c.shape(0);
  for (int a = axis; a < statistics.rank(); ++a) statistics = statistics.with(a, 1);
  // stash_type names the type of the statistics as ONNX numbers types: 16 is bfloat16.
  const DataType type = c.integer("stash_type", 1) == 16 ? DataType::BFloat16 : DataType::Float32;
  c.set_output(1, type, statistics);
  c.set_output(2, type, statistics);
}

/// Multiplies (input 1) and adds (input 2, when present) what broadcasts to the result.
void scale_and_shift(EvalContext& c, std::vector<double>& x) {
  const Shape& shape = c.input(0).shape();
  const std::vector<double> scale = to_doubles(c, c.input(1));
  const std::vector<double> bias = c.has_input(2) ? to_doubles(c, c.input(2)) : std::vector<double>{0.0};
  BroadcastWalk walk(shape, {c.input(1).shape(), c.has_input(2) ? c.input(2).shape() : Shape{}});
  for (double& value : x) {
    value = value * scale[static_cast<std::size_t>(walk.offset(0))] +
            bias[static_cast<std::size_t>(walk.offset(1))];
    walk.next();
  }
}

template <bool kCentred>
void reference_trailing(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const int axis = normalized_axis(c, shape);
  const double epsilon = double{c.real("epsilon", 1e-5F)};
  const std::int64_t run = shape.elements(axis, shape.rank());
  std::vector<double> x = to_doubles(c, c.input(0));
  std::vector<double> means, inverses;
  for (std::int64_t r = 0; r < shape.elements(0, axis); ++r) {
    double* values = x.data() + r * run;
    Moments m = moments(values, run);
    if (!kCentred) m = {.mean = 0, .variance = m.variance + m.mean * m.mean};
    const double inverse = 1.0 / std::sqrt(m.variance + epsilon);
    for (std::int64_t i = 0; i < run; ++i) values[i] = (values[i] - m.mean) * inverse;
    means.push_back(m.mean);
    inverses.push_back(inverse);
  }
  scale_and_shift(c, x);
  if (c.has_output(0)) from_doubles(c, x, c.output(0));
  if (c.has_output(1)) from_doubles(c, means, c.output(1));
  if (c.has_output(2)) from_doubles(c, inverses, c.output(2));
}

double flops_normalization(const NodeContext& /*node*/, std::span<const Shape> inputs,
                           std::span<const Shape> /*outputs*/) {
  return 2.0 * static_cast<double>(inputs[0].elements());
}

}  // namespace

void add_normalization_operators(OperatorList& list) {
  const auto add = [&](std::string_view name, std::vector<int> versions, void (*infer)(InferContext&),
                       void (*reference)(EvalContext&), FusionSupport fuses = {}) {
    list.push_back({.name = name,
                    .versions = std::move(versions),
                    .infer = infer,
                    .reference = reference,
                    .flops = flops_normalization,
                    .fuses = fuses});
  };
  list.push_back({.name = "BatchNormalization",
                  .versions = {7, 9, 14, 15},
                  .check = check_batch_normalization,
                  .infer = infer_batch_normalization,
                  .reference = reference_batch_normalization,
                  .flops = flops_normalization,
                  .fuses = {.activation = true}});
  add("InstanceNormalization", {6, 22}, infer_instance_normalization, reference_instance_normalization);
  add("GroupNormalization", {18, 21}, infer_group_normalization, reference_group_normalization);
  add("LayerNormalization", {17}, infer_layer_normalization, reference_trailing<true>);
  add("RMSNormalization", {23}, infer_layer_normalization, reference_trailing<false>);
}

}  // namespace ember::ops
