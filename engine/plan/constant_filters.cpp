#include "plan/constant_filters.hpp"

namespace ember::plan {

const Tensor* constant_input(const graph::Graph& graph, graph::NodeId id, std::size_t input) {
  const graph::Node& node = graph.node(id);
  return input < node.inputs.size() ? graph.constant(node.inputs[input]) : nullptr;
}

bool has_constant_filters(const Specialized& specialized, graph::NodeId id) {
  const graph::Node& node = specialized.graph.node(id);
  if (node.op != "Conv" || !node.domain.empty()) return false;
  const Tensor* filters = constant_input(specialized.graph, id, 1);
  const bool has_bias = node.inputs.size() > 2 && node.inputs[2] != graph::kNoValue;
  return filters != nullptr && filters->type() == DataType::Float32 && filters->shape().elements() > 0 &&
         specialized.is_static(node.inputs[0]) &&
         (!has_bias || constant_input(specialized.graph, id, 2) != nullptr);
}

}  // namespace ember::plan
