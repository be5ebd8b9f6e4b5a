#pragma once

#include <memory>
#include <vector>

#include "graph/graph.hpp"
#include "ops/lowering.hpp"

namespace ember::plan {

/// The reference of a node whose shapes are static, on arena memory. Views with null data are provided by the
/// run, those of constants are kept. The graph must outlive the step.
std::unique_ptr<const ops::Step> make_reference_step(const graph::Graph& graph, graph::NodeId id,
                                                     std::vector<ConstTensorView> inputs,
                                                     std::vector<TensorView> outputs);

}  // namespace ember::plan
