#include "ops/concat_split.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/movement.hpp"
#include "ops/registry.hpp"

namespace ember::ops {

namespace {

void check_concat(const NodeContext& c, std::vector<std::string>& reasons) {
  if (!c.has("axis")) reasons.emplace_back("attribute 'axis' is missing");
}

void infer_concat(InferContext& c) {
  c.require(c.input_count() > 0, "no inputs");
  const Shape& first = c.shape(0);
  const int axis = normalize_axis(c, c.integer("axis", 0), first.rank());
  std::int64_t extent = 0;
  for (int i = 0; i < c.input_count(); ++i) {
    const Shape& shape = c.shape(i);
    c.require(c.type(i) == c.type(0), "the inputs differ in type");
    const bool fits = shape.rank() == first.rank() && shape.with(axis, 0) == first.with(axis, 0);
    c.require(fits, fmt::format("shapes {} and {} differ beyond axis {}", to_string(first), to_string(shape),
                                axis));
    extent += shape[axis];
  }
  c.set_output(0, c.type(0), first.with(axis, extent));
}

void reference_concat(EvalContext& c) {
  const TensorView& to = c.output(0);
  const int axis = normalize_axis(c, c.integer("axis", 0), to.shape().rank());
  const std::int64_t outer = to.shape().elements(0, axis);
  auto* at = static_cast<std::byte*>(to.raw());
  for (std::int64_t row = 0; row < outer; ++row) {
    for (const ConstTensorView& from : c.inputs()) {
      const std::size_t run = from.bytes() / static_cast<std::size_t>(outer);
      if (run == 0) continue;
      std::memcpy(at, static_cast<const std::byte*>(from.raw()) + static_cast<std::size_t>(row) * run, run);
      at += run;
    }
  }
}

std::optional<std::vector<std::int64_t>> given_sizes(const InferContext& c) {
  if (split_sizes_are_input(c)) return c.required_integers(1);
  if (c.opset() < 13 && c.has("split")) return c.integers("split");
  return std::nullopt;
}

void infer_split(InferContext& c) {
  const Shape& from = c.shape(0);
  const int axis = normalize_axis(c, c.integer("axis", 0), from.rank());
  const std::vector<std::int64_t> sizes = split_sizes(c, from[axis], given_sizes(c));
  for (int i = 0; i < c.output_count(); ++i) {
    c.set_output(i, c.type(0), from.with(axis, sizes[static_cast<std::size_t>(i)]));
  }
}

void reference_split(EvalContext& c) {
  const ConstTensorView& from = c.input(0);
  const int axis = normalize_axis(c, c.integer("axis", 0), from.shape().rank());
  const std::int64_t outer = from.shape().elements(0, axis);
  const std::size_t inner =
      static_cast<std::size_t>(from.shape().elements(axis + 1, from.shape().rank())) * size_of(from.type());
  std::optional<std::vector<std::int64_t>> given;
  if (split_sizes_are_input(c)) given = c.integers_of(1);
  else if (c.opset() < 13 && c.has("split")) given = c.integers("split");
  const std::vector<std::int64_t> sizes = split_sizes(c, from.shape()[axis], given);
  const auto* at = static_cast<const std::byte*>(from.raw());
  for (std::int64_t row = 0; row < outer; ++row) {
    for (int i = 0; i < c.output_count(); ++i) {
      const std::size_t run = static_cast<std::size_t>(sizes[static_cast<std::size_t>(i)]) * inner;
      if (run == 0) continue;
      if (c.has_output(i)) {
        std::memcpy(static_cast<std::byte*>(c.output(i).raw()) + static_cast<std::size_t>(row) * run, at,
                    run);
      }
      at += run;
    }
  }
}

}  // namespace

bool split_sizes_are_input(const NodeContext& node) { return node.opset() >= 13 && node.has_input(1); }

std::vector<std::int64_t> split_sizes(const NodeContext& node, std::int64_t extent,
                                      const std::optional<std::vector<std::int64_t>>& given) {
  const std::int64_t parts = node.output_count();
  node.require(parts > 0, "no outputs");
  if (given) {
    node.require(static_cast<std::int64_t>(given->size()) == parts,
                 fmt::format("{} sizes for {} outputs", given->size(), parts));
    std::int64_t left = extent;
    for (const std::int64_t size : *given) {
      node.require(size >= 0 && size <= left,
                   fmt::format("the sizes do not add up to the extent {}", extent));
      left -= size;
    }
    node.require(left == 0, fmt::format("the sizes do not add up to the extent {}", extent));
    return *given;
  }
  if (node.opset() >= 18) {
    node.require(node.has("num_outputs"), "neither sizes nor num_outputs are given");
    node.require(
        node.integer("num_outputs", 0) == parts,
        fmt::format("num_outputs is {}, the node has {} outputs", node.integer("num_outputs", 0), parts));
  } else {
    node.require(extent % parts == 0,
                 fmt::format("extent {} does not split into {} equal parts", extent, parts));
  }
  const std::int64_t chunk = (extent + parts - 1) / parts;
  std::vector<std::int64_t> sizes;
  for (std::int64_t left = extent; static_cast<std::int64_t>(sizes.size()) < parts; left -= sizes.back()) {
    sizes.push_back(std::min(left, chunk));
  }
  return sizes;
}

void add_concat_split_operators(OperatorList& list) {
  list.push_back({.name = "Concat",
                  .versions = {4, 11, 13},
                  .check = check_concat,
                  .infer = infer_concat,
                  .reference = reference_concat,
                  .flops = no_flops});
  list.push_back({.name = "Split",
                  .versions = {2, 11, 13, 18},
                  .infer = infer_split,
                  .reference = reference_split,
                  .flops = no_flops});
}

}  // namespace ember::ops
