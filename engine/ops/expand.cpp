#include <cstdint>
#include <vector>

#include <fmt/format.h>

#include "ops/movement.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// Expand and Tile: elements repeated along axes.

namespace ember::ops {

namespace {

void infer_expand(InferContext& c) {
  const std::vector<std::int64_t> dims = c.required_integers(1);
  for (const std::int64_t extent : dims) c.require(extent >= 0, fmt::format("extent {}", extent));
  c.set_output(0, c.type(0), broadcast(c, c.shape(0), Shape(dims)));
}

void infer_tile(InferContext& c) {
  const Shape& from = c.shape(0);
  const std::vector<std::int64_t> repeats = c.required_integers(1);
  c.require(static_cast<int>(repeats.size()) == from.rank(),
            fmt::format("{} repeats for a tensor of rank {}", repeats.size(), from.rank()));
  std::vector<std::int64_t> dims(repeats.size());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    c.require(repeats[i] >= 0, fmt::format("{} repeats", repeats[i]));
    dims[i] = checked_product(c, from[static_cast<int>(i)], repeats[i]);
  }
  c.set_output(0, c.type(0), Shape(dims));
}

/// Every output index, wrapped around the input's extents; the axes are aligned at the end. Broadcasting is
/// the case of extents of 1.
void reference_repeat(EvalContext& c) {
  const ConstTensorView& from = c.input(0);
  const TensorView& to = c.output(0);
  const PerAxis strides = dense_strides(from.shape());
  const int extra = to.shape().rank() - from.shape().rank();
  dispatch_by_size(size_of(from.type()), [&](auto zero) {
    using Word = decltype(zero);
    for_each_index(to.shape(), [&](std::int64_t position, const PerAxis& index) {
      std::int64_t source = 0;
      for (int axis = 0; axis < from.shape().rank(); ++axis) {
        source += index[static_cast<std::size_t>(axis + extra)] % from.shape()[axis] *
                  strides[static_cast<std::size_t>(axis)];
      }
      words<Word>(to)[position] = words<Word>(from)[source];
    });
  });
}

}  // namespace

void add_expand_operators(OperatorList& list) {
  list.push_back({.name = "Expand",
                  .versions = {8, 13},
                  .infer = infer_expand,
                  .reference = reference_repeat,
                  .flops = no_flops});
  list.push_back({.name = "Tile",
                  .versions = {6, 13},
                  .infer = infer_tile,
                  .reference = reference_repeat,
                  .flops = no_flops});
}

}  // namespace ember::ops
