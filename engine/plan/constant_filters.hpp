#pragma once

#include <cstddef>

#include "plan/specialize.hpp"

namespace ember::plan {

/// Input `input` of a node, null when it is left out or no constant.
const Tensor* constant_input(const graph::Graph& graph, graph::NodeId id, std::size_t input);

/// A Conv of an input of known shape whose float32 filters, and bias if any, are constants.
bool has_constant_filters(const Specialized& specialized, graph::NodeId id);

}  // namespace ember::plan
