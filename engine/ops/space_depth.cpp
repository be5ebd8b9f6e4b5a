#include "ops/space_depth.hpp"

#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "ops/movement.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

namespace ember::ops {

namespace {

/// Far beyond any real block, and its square still fits.
constexpr std::int64_t kLargestBlock = 1 << 20;

void check_block(const NodeContext& c, std::vector<std::string>& reasons) {
  const std::int64_t block = c.integer("blocksize", 0);
  if (block < 1 || block > kLargestBlock) reasons.push_back(fmt::format("blocksize {}", block));
  const std::string mode = c.text("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") reasons.push_back(fmt::format("mode '{}'", mode));
}

std::int64_t block_of(const NodeContext& c, const Shape& input) {
  const std::int64_t block = c.integer("blocksize", 0);
  c.require(block >= 1 && block <= kLargestBlock, fmt::format("blocksize {}", block));
  c.require(input.rank() == 4, fmt::format("the input has rank {}, not 4", input.rank()));
  return block;
}

void infer_depth_to_space(InferContext& c) {
  c.set_output(0, c.type(0), depth_to_space_axes(c, c.shape(0)).output);
}
void infer_space_to_depth(InferContext& c) {
  c.set_output(0, c.type(0), space_to_depth_axes(c, c.shape(0)).output);
}

void permute(const EvalContext& c, const SixAxes& axes) {
  const ConstTensorView& from = c.input(0);
  const TensorView& to = c.output(0);
  const PerAxis strides = dense_strides(Shape(std::span<const std::int64_t>(axes.dims)));
  std::array<std::int64_t, 6> dims{};
  for (std::size_t i = 0; i < dims.size(); ++i) dims[i] = axes.dims[static_cast<std::size_t>(axes.perm[i])];
  dispatch_by_size(size_of(from.type()), [&](auto zero) {
    using Word = decltype(zero);
    for_each_index(Shape(std::span<const std::int64_t>(dims)),
                   [&](std::int64_t position, const PerAxis& index) {
                     std::int64_t source = 0;
                     for (std::size_t i = 0; i < dims.size(); ++i)
                       source += index[i] * strides[static_cast<std::size_t>(axes.perm[i])];
                     words<Word>(to)[position] = words<Word>(from)[source];
                   });
  });
}

void reference_depth_to_space(EvalContext& c) { permute(c, depth_to_space_axes(c, c.input(0).shape())); }
void reference_space_to_depth(EvalContext& c) { permute(c, space_to_depth_axes(c, c.input(0).shape())); }

}  // namespace

SixAxes depth_to_space_axes(const NodeContext& node, const Shape& input) {
  const std::int64_t b = block_of(node, input);
  node.require(input[1] % (b * b) == 0, fmt::format("{} channels are no multiple of {}", input[1], b * b));
  const std::int64_t depth = input[1] / (b * b);
  const Shape output{input[0], depth, checked_product(node, input[2], b), checked_product(node, input[3], b)};
  if (node.text("mode", "DCR") == "CRD")
    return {{input[0], depth, b, b, input[2], input[3]}, {0, 1, 4, 2, 5, 3}, output};
  return {{input[0], b, b, depth, input[2], input[3]}, {0, 3, 4, 1, 5, 2}, output};
}

SixAxes space_to_depth_axes(const NodeContext& node, const Shape& input) {
  const std::int64_t b = block_of(node, input);
  node.require(input[2] % b == 0 && input[3] % b == 0,
               fmt::format("{}x{} does not divide into blocks of {}", input[2], input[3], b));
  const std::int64_t height = input[2] / b;
  const std::int64_t width = input[3] / b;
  const bool depth_last = node.text("mode", "DCR") == "CRD";
  return {{input[0], input[1], height, b, width, b},
          depth_last ? std::array<int, 6>{0, 1, 3, 5, 2, 4} : std::array<int, 6>{0, 3, 5, 1, 2, 4},
          {input[0], checked_product(node, input[1], b * b), height, width}};
}

void add_space_depth_operators(OperatorList& list) {
  list.push_back({.name = "DepthToSpace",
                  .versions = {1, 11, 13, 28},
                  .check = check_block,
                  .infer = infer_depth_to_space,
                  .reference = reference_depth_to_space,
                  .flops = no_flops});
  list.push_back({.name = "SpaceToDepth",
                  .versions = {1, 13, 28},
                  .check = check_block,
                  .infer = infer_space_to_depth,
                  .reference = reference_space_to_depth,
                  .flops = no_flops});
}

}  // namespace ember::ops
