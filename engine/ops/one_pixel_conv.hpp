#pragma once

#include "ops/lowering.hpp"

namespace ember::ops {

/// A 1x1 convolution of 1x1 images as a matrix product: one row of channels per sample.
LowerResult consider_one_pixel_conv(LowerContext& c);

}  // namespace ember::ops
