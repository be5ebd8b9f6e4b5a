#include <algorithm>
#include <cstdint>
#include <utility>

#include "ops/movement.hpp"
#include "ops/registry.hpp"

// Shape and Size: what a tensor looks like, as a tensor. The elements are never read.

namespace ember::ops {

namespace {

/// The axes that Shape reports: [start, end), clamped to the rank.
std::pair<int, int> reported_axes(const NodeContext& c, int rank) {
  if (c.opset() < 15) return {0, rank};
  const auto clamp = [rank](std::int64_t axis) {
    return static_cast<int>(std::clamp<std::int64_t>(axis < 0 ? axis + rank : axis, 0, rank));
  };
  const int start = clamp(c.integer("start", 0));
  const int end = clamp(c.integer("end", rank));
  return {start, std::max(start, end)};
}

void infer_shape(InferContext& c) {
  const auto [start, end] = reported_axes(c, c.shape(0).rank());
  c.set_output(0, DataType::Int64, {end - start});
}

void reference_shape(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const auto [start, end] = reported_axes(c, shape.rank());
  std::copy(shape.begin() + start, shape.begin() + end, c.output(0).data<std::int64_t>().begin());
}

void infer_size(InferContext& c) {
  (void)c.shape(0);  // fails when the input is missing
  c.set_output(0, DataType::Int64, {});
}

void reference_size(EvalContext& c) { c.output(0).data<std::int64_t>()[0] = c.input(0).elements(); }

}  // namespace

void add_shape_operators(OperatorList& list) {
  list.push_back({.name = "Shape",
                  .versions = {1, 13, 15, 19, 21, 23, 24, 25},
                  .infer = infer_shape,
                  .reference = reference_shape,
                  .flops = no_flops});
  list.push_back({.name = "Size",
                  .versions = {1, 13, 19, 21, 23, 24, 25},
                  .infer = infer_size,
                  .reference = reference_size,
                  .flops = no_flops});
}

}  // namespace ember::ops
