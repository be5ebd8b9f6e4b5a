#pragma once

#include <optional>
#include <span>

#include "kernels/activation.hpp"
#include "ops/op.hpp"

namespace ember::ops {

/// The function that an activation node computes, its parameters resolved; nullopt for other operators, for
/// PRelu (see slope_layout) and for a Clip whose bounds are not known. `constants` are the node's inputs as
/// far as they are known, by index; only a Clip with bounds as inputs looks at them.
std::optional<kernels::Activation> activation_of(const NodeContext& node,
                                                 std::span<const Tensor* const> constants);

/// How a PRelu's slopes lie on its input.
enum class SlopeLayout : std::uint8_t {
  Single,      ///< one for all
  PerChannel,  ///< one per element of axis 1
  Other,
};
/// For a slope that broadcasts to an input of that rank.
SlopeLayout slope_layout(const Shape& slope, int input_rank);

}  // namespace ember::ops
