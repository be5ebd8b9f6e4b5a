#pragma once

#include <ember/tensor.hpp>

#include "graph/graph.hpp"

namespace ember::ops {

/// A constant: an initialiser, or what a Constant node makes; nullptr for anything else, kNoValue too.
const Tensor* constant_of(const graph::Graph& graph, graph::ValueId value);

/// The same for float32 constants alone.
const Tensor* float_constant(const graph::Graph& graph, graph::ValueId value);

}  // namespace ember::ops
