#include "surgery/facts.hpp"

#include <cstddef>

#include "ops/typed.hpp"

namespace ember::surgery {

using graph::kNoValue;
using graph::ValueId;

Facts::Facts(const graph::Graph& graph)
    : graph_(&graph), specialized_(plan::specialize(graph, plan::resolve_input_shapes(graph, {}))) {}

const Shape* Facts::shape(ValueId id) const {
  if (id == kNoValue || static_cast<std::size_t>(id) >= specialized_.facts.size()) return nullptr;
  const auto& shape = specialized_.fact(id).shape;
  return shape.has_value() ? &*shape : nullptr;
}

DataType Facts::type(ValueId id) const {
  return id == kNoValue ? DataType::Undefined : specialized_.fact(id).type;
}

const Tensor* Facts::known(ValueId id) const {
  if (id == kNoValue) return nullptr;
  const Tensor* own = graph_->constant(id);
  return own != nullptr ? own : specialized_.graph.constant(id);
}

std::optional<std::vector<std::int64_t>> Facts::integers(ValueId id) const {
  const Tensor* tensor = known(id);
  if (tensor == nullptr) return std::nullopt;
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < tensor->elements(); ++i) {
    if (tensor->type() == DataType::Int64)
      values.push_back(tensor->data<std::int64_t>()[static_cast<std::size_t>(i)]);
    else values.push_back(static_cast<std::int64_t>(number_at(*tensor, i)));
  }
  return values;
}

double number_at(const Tensor& tensor, std::int64_t index) {
  return ops::dispatch_type(tensor.type(), [&](auto zero) {
    return static_cast<double>(ops::widen(tensor.data<decltype(zero)>()[static_cast<std::size_t>(index)]));
  });
}

}  // namespace ember::surgery
