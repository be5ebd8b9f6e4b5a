#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ops/movement.hpp"

namespace ember::ops {

enum class PadMode : std::uint8_t { Constant, Reflect, Edge, Wrap };

PadMode pad_mode(const NodeContext& node);

/// Pad's amounts by axis. Negative amounts crop, before anything is added.
struct Padding {
  PerAxis crop_begin{};  ///< elements dropped at the start of an axis
  PerAxis kept{};        ///< elements left after cropping
  PerAxis before{};      ///< elements added in front
  Shape shape;           ///< of the output
};

/// `pads` as ONNX orders them (all begins, then all ends) for `axes`, or for every axis.
Padding resolve_padding(const NodeContext& node, const Shape& input, const std::vector<std::int64_t>& pads,
                        const std::optional<std::vector<std::int64_t>>& axes);

/// The index in [0, kept) that output index `at - before` shows; -1 for the constant.
std::int64_t padded_source(PadMode mode, std::int64_t at, std::int64_t kept);

}  // namespace ember::ops
