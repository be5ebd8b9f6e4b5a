#pragma once

#include <vector>

#include <onnx/onnx_pb.h>

#include "graph/graph.hpp"

namespace ember::onnx {

/// Writes a model's main graph. Names of values are kept; inside a subgraph a captured value goes by its
/// name outside, and a name inside that would hide it is changed. The initialisers are written without their
/// elements, which those of `weights` have, in the same order.
void write_graph(const graph::Graph& graph, ::onnx::GraphProto& proto, std::vector<const Tensor*>& weights);

}  // namespace ember::onnx
