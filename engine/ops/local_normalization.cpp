#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "ops/axes.hpp"
#include "ops/broadcast_walk.hpp"
#include "ops/doubles.hpp"
#include "ops/registry.hpp"
#include "ops/type_set.hpp"

// LpNormalization, LRN (local response) and MeanVarianceNormalization: no learnt parameters.

namespace ember::ops {

namespace {

// ---- LpNormalization

void check_lp(const NodeContext& c, std::vector<std::string>& reasons) {
  const std::int64_t p = c.integer("p", 2);
  if (p != 1 && p != 2) reasons.push_back(fmt::format("p = {}; ONNX defines 1 and 2", p));
}

void infer_lp(InferContext& c) {
  require_type(c, 0, TypeSet::Floating);
  (void)normalize_axis(c, c.integer("axis", -1), c.shape(0).rank());
  c.set_output(0, c.type(0), c.shape(0));
}

/// A line whose norm is zero stays zero.
void reference_lp(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const int axis = normalize_axis(c, c.integer("axis", -1), shape.rank());
  const bool squares = c.integer("p", 2) == 2;
  std::vector<double> x = to_doubles(c, c.input(0));
  const Shape kept = shape.with(axis, 1);
  std::vector<double> norms(static_cast<std::size_t>(kept.elements()));
  BroadcastWalk gather(shape, {kept});
  for (const double value : x) {
    norms[static_cast<std::size_t>(gather.offset(0))] += squares ? value * value : std::abs(value);
    gather.next();
  }
  BroadcastWalk divide(shape, {kept});
  for (double& value : x) {
    const double norm = norms[static_cast<std::size_t>(divide.offset(0))];
    if (norm != 0) value /= squares ? std::sqrt(norm) : norm;
    divide.next();
  }
  from_doubles(c, x, c.output(0));
}

// ---- LRN

void infer_lrn(InferContext& c) {
  require_type(c, 0, TypeSet::Floating);
  c.require(c.shape(0).rank() >= 2, "the input must have a batch and a channel axis");
  c.require(c.integer("size", 0) >= 1, "attribute 'size' must be at least 1");
  c.set_output(0, c.type(0), c.shape(0));
}

void reference_lrn(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const double alpha = double{c.real("alpha", 1e-4F)};
  const double beta = double{c.real("beta", 0.75F)};
  const double bias = double{c.real("bias", 1.0F)};
  const std::int64_t channels = shape[1];
  // A window wider than all channels sees the same as one that just covers them.
  const std::int64_t size = c.integer("size", 1);
  const std::int64_t before = std::min((size - 1) / 2, channels);
  const std::int64_t after = std::min(size / 2, channels);
  const std::int64_t positions = shape.elements(2, shape.rank());
  const std::vector<double> x = to_doubles(c, c.input(0));
  std::vector<double> y(x.size());
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(x.size()); ++i) {
    const std::int64_t channel = i / positions % channels;
    const double* sample = x.data() + (i - channel * positions);
    double squares = 0;
    for (std::int64_t k = std::max<std::int64_t>(0, channel - before);
         k <= std::min(channels - 1, channel + after); ++k)
      squares += sample[k * positions] * sample[k * positions];
    const auto at = static_cast<std::size_t>(i);
    y[at] = x[at] / std::pow(bias + alpha / static_cast<double>(size) * squares, beta);
  }
  from_doubles(c, y, c.output(0));
}

double flops_lrn(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape>) {
  return static_cast<double>(inputs[0].elements()) * 2.0 * static_cast<double>(node.integer("size", 1));
}

// ---- MeanVarianceNormalization

AxisSet mvn_axes(const NodeContext& c, int rank) { return axis_set(c, c.integers("axes", {0, 2, 3}), rank); }

void infer_mvn(InferContext& c) {
  require_type(c, 0, TypeSet::Floating);
  (void)mvn_axes(c, c.shape(0).rank());
  c.set_output(0, c.type(0), c.shape(0));
}

/// (x - mean) / (deviation + 1e-9), as the operator's defining function has it.
void reference_mvn(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const Shape kept = reduced_shape(shape, mvn_axes(c, shape.rank()), true);
  std::vector<double> x = to_doubles(c, c.input(0));
  const auto outputs = static_cast<std::size_t>(kept.elements());
  const auto mean_of = [&](auto&& value_of) {
    std::vector<double> mean(outputs);
    BroadcastWalk walk(shape, {kept});
    for (const double value : x) {
      const auto o = static_cast<std::size_t>(walk.offset(0));
      mean[o] += value_of(value, o) * static_cast<double>(outputs) / static_cast<double>(x.size());
      walk.next();
    }
    return mean;
  };
  const std::vector<double> mean = mean_of([](double value, std::size_t) { return value; });
  const std::vector<double> variance =
      mean_of([&](double value, std::size_t o) { return (value - mean[o]) * (value - mean[o]); });
  BroadcastWalk walk(shape, {kept});
  for (double& value : x) {
    const auto o = static_cast<std::size_t>(walk.offset(0));
    value = (value - mean[o]) / (std::sqrt(variance[o]) + 1e-9);
    walk.next();
  }
  from_doubles(c, x, c.output(0));
}

}  // namespace

void add_local_normalization_operators(OperatorList& list) {
  list.push_back({.name = "LpNormalization",
                  .versions = {1, 22},
                  .check = check_lp,
                  .infer = infer_lp,
                  .reference = reference_lp});
  list.push_back({.name = "LRN",
                  .versions = {1, 13},
                  .infer = infer_lrn,
                  .reference = reference_lrn,
                  .flops = flops_lrn});
  list.push_back({.name = "MeanVarianceNormalization",
                  .versions = {9, 13},
                  .infer = infer_mvn,
                  .reference = reference_mvn});
}

}  // namespace ember::ops
