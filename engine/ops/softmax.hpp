#pragma once

#include <cstdint>

#include "ops/op.hpp"

namespace ember::ops {

/// A tensor seen as [outer][length][inner]: Softmax and its kin normalise over `length`.
struct SoftmaxLines {
  std::int64_t outer, length, inner;
};

/// Before opset 13 all axes from `axis` (default 1) on are one line; since then only `axis`
/// (default -1) is.
SoftmaxLines softmax_lines(const NodeContext& node, const Shape& shape);

}  // namespace ember::ops
