#include "ops/transpose.hpp"

#include <cstdint>

#include <fmt/format.h>

#include "ops/movement.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

namespace ember::ops {

namespace {

void infer_transpose(InferContext& c) {
  const Shape& from = c.shape(0);
  std::vector<std::int64_t> dims;
  for (const int axis : permutation_of(c, from.rank())) dims.push_back(from[axis]);
  c.set_output(0, c.type(0), Shape(dims));
}

void reference_transpose(EvalContext& c) {
  const ConstTensorView& from = c.input(0);
  const TensorView& to = c.output(0);
  const std::vector<int> perm = permutation_of(c, from.shape().rank());
  const PerAxis strides = dense_strides(from.shape());
  dispatch_by_size(size_of(from.type()), [&](auto zero) {
    using Word = decltype(zero);
    for_each_index(to.shape(), [&](std::int64_t position, const PerAxis& index) {
      std::int64_t source = 0;
      for (std::size_t i = 0; i < perm.size(); ++i)
        source += index[i] * strides[static_cast<std::size_t>(perm[i])];
      words<Word>(to)[position] = words<Word>(from)[source];
    });
  });
}

}  // namespace

std::vector<int> permutation_of(const NodeContext& node, int rank) {
  std::vector<int> perm(static_cast<std::size_t>(rank));
  if (!node.has("perm")) {
    for (int i = 0; i < rank; ++i) perm[static_cast<std::size_t>(i)] = rank - 1 - i;
    return perm;
  }
  const std::vector<std::int64_t> given = node.integers("perm");
  node.require(given.size() == perm.size(),
               fmt::format("perm has {} entries for a tensor of rank {}", given.size(), rank));
  normalize_axes(node, given, rank);  // refuses repeated axes
  for (std::size_t i = 0; i < perm.size(); ++i) perm[i] = normalize_axis(node, given[i], rank);
  return perm;
}

void add_transpose_operators(OperatorList& list) {
  list.push_back({.name = "Transpose",
                  .versions = {1, 13, 21, 23, 24, 25},
                  .infer = infer_transpose,
                  .reference = reference_transpose,
                  .flops = no_flops});
}

}  // namespace ember::ops
