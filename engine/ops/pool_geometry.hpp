#pragma once

#include "ops/conv_geometry.hpp"

namespace ember::ops {

/// The windows of MaxPool, AveragePool or LpPool on an input of shape x. Fails (InvalidModel,
/// Unsupported) on anything that makes no window.
Windows pool_geometry(const NodeContext& node, const Shape& x);

/// How many taps of the window at `out` an average divides by, along one axis: those on the input, or
/// (count_include_pad) those on the input and its padding, but never those of a ceil_mode overhang.
std::int64_t averaged_taps(const WindowAxis& axis, std::int64_t out, bool include_padding);

}  // namespace ember::ops
