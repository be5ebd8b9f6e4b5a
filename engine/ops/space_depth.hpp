#pragma once

#include <array>
#include <cstdint>

#include "ops/op.hpp"

namespace ember::ops {

/// DepthToSpace or SpaceToDepth as what it is: a transpose of the input seen with six axes.
struct SixAxes {
  std::array<std::int64_t, 6> dims;  ///< of the input
  std::array<int, 6> perm;           ///< output axis i is input axis perm[i]
  Shape output;
};

SixAxes depth_to_space_axes(const NodeContext& node, const Shape& input);
SixAxes space_to_depth_axes(const NodeContext& node, const Shape& input);

}  // namespace ember::ops
