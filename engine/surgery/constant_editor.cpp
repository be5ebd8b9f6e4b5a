#include "surgery/constant_editor.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "ops/constant_value.hpp"

namespace ember::surgery {

graph::ValueId ConstantEditor::own(graph::NodeId node, int index) {
  const std::vector<graph::ValueId>& inputs = graph_.node(node).inputs;
  const graph::ValueId value = inputs[static_cast<std::size_t>(index)];
  const bool alone = graph_.constant(value) != nullptr && graph_.users(value).size() == 1 &&
                     std::ranges::count(inputs, value) == 1 && !graph_.is_output(value);
  if (alone) return value;
  const Tensor* tensor = ops::constant_of(graph_, value);
  if (tensor == nullptr) throw Error(ErrorCode::Internal, "a constant to be changed is computed");
  const graph::ValueId copy = graph_.add_constant(graph_.value(value).name, Tensor(*tensor));
  graph_.set_input(node, index, copy);
  return copy;
}

std::span<float> ConstantEditor::floats(graph::ValueId value) {
  auto& tensor = edited_[value];
  if (tensor == nullptr) {
    tensor = std::make_shared<Tensor>(*graph_.value(value).constant);
    graph_.value(value).constant = tensor;
  }
  return tensor->data<float>();
}

Model ConstantEditor::snapshot() {
  edited_.clear();
  return Model(std::make_shared<const graph::Graph>(graph_));
}

}  // namespace ember::surgery
