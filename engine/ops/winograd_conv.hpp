#pragma once

#include "ops/lowering.hpp"

namespace ember::ops {

/// Conv 3×3, stride 1, one group, blocked to blocked, by Winograd's F(4×4, 3×3) and F(2×2, 3×3).
LowerResult consider_winograd_f4(LowerContext& c);
LowerResult consider_winograd_f2(LowerContext& c);

}  // namespace ember::ops
