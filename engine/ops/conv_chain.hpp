#pragma once

#include <span>

#include "ops/lowering.hpp"

namespace ember::ops {

/// A chain of convolutions as one step that goes over the image some rows at a time, so that what is between
/// them stays in the cache: a pointwise convolution (or one of few plain channels), a depthwise one and a
/// pointwise one, where the first or the last may be missing. Sums have the bits they have one by one.
///
/// Every stage but the first reads its predecessor's result, which nobody else reads; only the last may add a
/// residual. Input 0 of the result is the first stage's, input 1 the residual.
LowerResult consider_conv_chain(std::span<LowerContext* const> stages);

}  // namespace ember::ops
