#pragma once

#include <optional>
#include <span>
#include <vector>

#include "audit/twin_graph.hpp"

namespace ember::auditing {

/// What is added to a channel: something between two amounts, both of which some position gets.
struct Raise {
  double low = 0.0, high = 0.0;
  [[nodiscard]] bool even() const { return low == high; }
};

/// What additions to some values add to each channel of `to` (on axis 1), by way of `nodes`, in the order of
/// the graph. nullopt: not a constant per channel, but for the borders of a last convolution.
std::optional<std::vector<Raise>> effect_of(const ShapedNetwork& network,
                                            std::span<const graph::NodeId> nodes,
                                            std::span<const TwinGraph::Addition> additions,
                                            graph::ValueId to);

}  // namespace ember::auditing
