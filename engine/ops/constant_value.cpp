#include "ops/constant_value.hpp"

#include <memory>
#include <variant>

namespace ember::ops {

using graph::Graph;
using graph::kNoNode;
using graph::NodeId;
using graph::ValueId;

const Tensor* constant_of(const Graph& graph, ValueId value) {
  if (value == graph::kNoValue) return nullptr;
  if (const Tensor* tensor = graph.constant(value)) return tensor;
  const NodeId id = graph.value(value).producer;
  if (id == kNoNode || graph.node(id).op != "Constant" || !graph.node(id).domain.empty()) return nullptr;
  const auto attribute = graph.node(id).attributes.find("value");
  if (attribute == graph.node(id).attributes.end()) return nullptr;
  const auto* held = std::get_if<std::shared_ptr<const Tensor>>(&attribute->second);
  return held != nullptr ? held->get() : nullptr;
}

const Tensor* float_constant(const Graph& graph, ValueId value) {
  const Tensor* tensor = constant_of(graph, value);
  return tensor != nullptr && tensor->type() == DataType::Float32 ? tensor : nullptr;
}

}  // namespace ember::ops
