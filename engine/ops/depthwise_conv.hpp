#pragma once

#include "ops/lowering.hpp"

namespace ember::ops {

/// Conv with one input and one output channel per group, on blocks.
LowerResult consider_depthwise_conv(LowerContext& c);

}  // namespace ember::ops
