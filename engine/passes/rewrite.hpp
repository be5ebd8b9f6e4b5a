#pragma once

#include <cstddef>
#include <initializer_list>
#include <string_view>

#include "graph/graph.hpp"

namespace ember::passes {

/// True for a node of the ai.onnx operator `op`.
bool is_op(const graph::Node& node, std::string_view op);

/// Input `i` of a node, kNoValue when it is left out.
graph::ValueId input_of(const graph::Node& node, std::size_t i);

/// True when the node's output `i` is left out, or nobody reads it and it is no graph output.
bool output_unused(const graph::Graph& graph, const graph::Node& node, std::size_t i);

/// The node that produces `value`, if `reader` is the only one to see its result (it is read once and is
/// no graph output); else kNoNode.
graph::NodeId sole_producer(const graph::Graph& graph, graph::ValueId value, graph::NodeId reader);

/// Takes out a node whose output 0 equals its input 0. False when the graph needs the node to give an
/// input, a constant or another output the name of a graph output.
bool bypass(graph::Graph& graph, graph::NodeId id);

/// Takes out `follower`, whose effect `node` has absorbed: `node` now produces the follower's output 0.
void absorb(graph::Graph& graph, graph::NodeId node, graph::NodeId follower);

/// Offers each node of one of the ai.onnx operators to a rewrite, in the order that they have before the
/// first; it may take out the node or those before it. How many it changed.
int rewrite_each(graph::Graph& graph, std::initializer_list<std::string_view> operators,
                 bool (*rewrite)(graph::Graph&, graph::NodeId));

}  // namespace ember::passes
