#include <algorithm>
#include <cstdint>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/movement.hpp"
#include "ops/registry.hpp"

// Reshape, Flatten, Squeeze, Unsqueeze: the same elements under another shape.

namespace ember::ops {

namespace {

void reference_same_elements(EvalContext& c) { copy_elements(c.input(0), c.output(0)); }

void infer_reshape(InferContext& c) {
  const Shape& from = c.shape(0);
  std::vector<std::int64_t> dims = c.required_integers(1);
  const bool zero_means_zero = c.opset() >= 14 && c.integer("allowzero", 0) != 0;
  int open = -1;
  for (int axis = 0; axis < static_cast<int>(dims.size()); ++axis) {
    std::int64_t& extent = dims[static_cast<std::size_t>(axis)];
    if (extent == -1) {
      c.require(open < 0, "more than one -1 in the wanted shape");
      open = axis;
      extent = 1;
    } else if (extent == 0 && !zero_means_zero) {
      c.require(axis < from.rank(),
                fmt::format("0 at place {} of the wanted shape copies an axis that the input lacks", axis));
      extent = from[axis];
    } else {
      c.require(extent >= 0, fmt::format("extent {} in the wanted shape", extent));
    }
  }
  Shape to(dims);
  if (open >= 0) {
    const std::int64_t rest = to.elements();
    c.require(rest != 0 && from.elements() % rest == 0,
              fmt::format("{} elements leave no whole extent for -1", from.elements()));
    to = to.with(open, from.elements() / rest);
  }
  c.require(to.elements() == from.elements(),
            fmt::format("{} cannot be reshaped to {}", to_string(from), to_string(to)));
  c.set_output(0, c.type(0), to);
}

void infer_flatten(InferContext& c) {
  const Shape& from = c.shape(0);
  const std::int64_t axis = c.integer("axis", 1);
  c.require(axis >= -from.rank() && axis <= from.rank(),
            fmt::format("axis {} is outside a tensor of rank {}", axis, from.rank()));
  const int split = static_cast<int>(axis < 0 ? axis + from.rank() : axis);
  c.set_output(0, c.type(0), {from.elements(0, split), from.elements(split, from.rank())});
}

/// Since opset 13 the axes are an input; nullopt when left out.
std::optional<std::vector<std::int64_t>> axes_of(const InferContext& c) {
  if (c.opset() < 13) {
    if (!c.has("axes")) return std::nullopt;
    return c.integers("axes");
  }
  if (!c.has_input(1)) return std::nullopt;
  return c.required_integers(1);
}

void infer_squeeze(InferContext& c) {
  const Shape& from = c.shape(0);
  std::vector<bool> dropped(static_cast<std::size_t>(from.rank()), false);
  if (const auto axes = axes_of(c)) {
    for (const int axis : normalize_axes(c, *axes, from.rank())) {
      c.require(from[axis] == 1, fmt::format("axis {} has extent {}, not 1", axis, from[axis]));
      dropped[static_cast<std::size_t>(axis)] = true;
    }
  } else {
    for (int axis = 0; axis < from.rank(); ++axis) dropped[static_cast<std::size_t>(axis)] = from[axis] == 1;
  }
  std::vector<std::int64_t> dims;
  for (int axis = 0; axis < from.rank(); ++axis) {
    if (!dropped[static_cast<std::size_t>(axis)]) dims.push_back(from[axis]);
  }
  c.set_output(0, c.type(0), Shape(dims));
}

void infer_unsqueeze(InferContext& c) {
  const auto axes = axes_of(c);
  if (!axes) c.fail(ErrorCode::InvalidModel, "the axes are missing");
  const Shape& from = c.shape(0);
  const int rank = from.rank() + static_cast<int>(std::min<std::size_t>(axes->size(), Shape::kMaxRank + 1));
  const std::vector<int> added = normalize_axes(c, *axes, rank);
  std::vector<std::int64_t> dims(from.begin(), from.end());
  for (const int axis : added) dims.insert(dims.begin() + axis, 1);
  c.set_output(0, c.type(0), Shape(dims));
}

}  // namespace

void add_reshape_operators(OperatorList& list) {
  list.push_back({.name = "Reshape",
                  .versions = {5, 13, 14, 19, 21, 23, 24, 25},
                  .infer = infer_reshape,
                  .reference = reference_same_elements,
                  .flops = no_flops});
  list.push_back({.name = "Flatten",
                  .versions = {1, 9, 11, 13, 21, 23, 24, 25},
                  .infer = infer_flatten,
                  .reference = reference_same_elements,
                  .flops = no_flops});
  list.push_back({.name = "Squeeze",
                  .versions = {1, 11, 13, 21, 23, 24, 25},
                  .infer = infer_squeeze,
                  .reference = reference_same_elements,
                  .flops = no_flops});
  list.push_back({.name = "Unsqueeze",
                  .versions = {1, 11, 13, 21, 23, 24, 25},
                  .infer = infer_unsqueeze,
                  .reference = reference_same_elements,
                  .flops = no_flops});
}

}  // namespace ember::ops
