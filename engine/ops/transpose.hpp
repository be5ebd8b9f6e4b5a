#pragma once

#include <vector>

#include "ops/op.hpp"

namespace ember::ops {

/// Transpose's permutation (output axis i is input axis perm[i]), the default filled in.
std::vector<int> permutation_of(const NodeContext& node, int rank);

}  // namespace ember::ops
