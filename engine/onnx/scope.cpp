#include "onnx/scope.hpp"

namespace ember::onnx {

graph::ValueId Scope::resolve(const std::string& name) {
  const graph::ValueId own = graph_->find_value(name);
  if (own != graph::kNoValue || outer_ == nullptr) return own;
  const graph::ValueId found = outer_->resolve(name);
  if (found == graph::kNoValue) return graph::kNoValue;
  const graph::Value& value = outer_->graph().value(found);
  const graph::ValueId captured = graph_->add_value(name, value.type, value.dims);
  graph_->captured.push_back(captured);
  return captured;
}

}  // namespace ember::onnx
