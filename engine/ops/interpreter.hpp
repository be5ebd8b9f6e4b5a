#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include <ember/tensor.hpp>

#include "ops/op.hpp"

namespace ember::ops {

/// Runs one node by its reference on concrete tensors (nullptr for inputs left out). `captures` are the
/// values of graph::Node::captures. Outputs left out come back empty. Throws Error.
std::vector<Tensor> evaluate_node(const graph::Graph& graph, graph::NodeId id,
                                  std::span<const Tensor* const> inputs,
                                  std::span<const Tensor* const> captures = {});

/// Runs a whole graph by references, in order. Slow and exact: the oracle of passes and plans.
/// `inputs` by input name; `captured` in the order of graph::Graph::captured (subgraphs only).
/// Returns the outputs in order. Throws Error.
std::vector<Tensor> interpret(const graph::Graph& graph, const std::map<std::string, Tensor>& inputs,
                              std::span<const Tensor* const> captured = {});

}  // namespace ember::ops
