#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ops/op.hpp"

namespace ember::ops {

/// The extents of Split's outputs along its axis. `given` are those the model states (attribute or input).
std::vector<std::int64_t> split_sizes(const NodeContext& node, std::int64_t extent,
                                      const std::optional<std::vector<std::int64_t>>& given);
/// Whether Split's sizes are input 1 (since opset 13) rather than an attribute, and present.
bool split_sizes_are_input(const NodeContext& node);

}  // namespace ember::ops
