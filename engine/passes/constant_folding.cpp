#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "ops/interpreter.hpp"
#include "ops/op.hpp"
#include "passes/passes.hpp"
#include "passes/rewrite.hpp"

namespace ember::passes {

namespace {

using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::NodeId;
using graph::ValueId;

/// Results larger than this are folded only if they are no larger than what they are made from: an Expand
/// or Tile of a small constant is better made anew than kept.
constexpr std::size_t kKeepBytes = std::size_t{16} << 20;

/// The node's input tensors when all are constant.
std::optional<std::vector<const Tensor*>> constant_inputs(const Graph& graph,
                                                          const std::vector<ValueId>& ids) {
  std::vector<const Tensor*> tensors;
  for (const ValueId id : ids) {
    tensors.push_back(graph.constant(id));
    if (id != kNoValue && tensors.back() == nullptr) return std::nullopt;
  }
  return tensors;
}

/// Whether the results are worth keeping, by their shapes alone: nothing large is computed in vain.
bool worth_keeping(const Graph& graph, NodeId id, const ops::Operator& op,
                   const std::vector<const Tensor*>& inputs) {
  std::vector<ops::InferContext::Input> known(inputs.size());
  std::size_t bytes_in = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == nullptr) continue;
    known[i] = {.type = inputs[i]->type(), .shape = inputs[i]->shape(), .value = inputs[i]};
    bytes_in += inputs[i]->bytes();
  }
  std::vector<ops::InferContext::Output> outputs(graph.node(id).outputs.size());
  ops::InferContext context(graph, id, known, outputs);
  try {
    op.infer(context);
  } catch (const ops::DataDependent&) {
    return false;
  }
  const std::size_t limit = std::max(bytes_in, kKeepBytes);
  return std::ranges::all_of(outputs, [limit](const ops::InferContext::Output& output) {
    const std::size_t element = size_of(output.type);
    return element == 0 || static_cast<std::size_t>(output.shape.elements()) <= limit / element;
  });
}

/// A Constant's own tensor is shared rather than copied.
std::shared_ptr<const Tensor> stated_tensor(const Node& node) {
  if (!is_op(node, "Constant")) return nullptr;
  const auto value = node.attributes.find(std::string_view("value"));
  if (value == node.attributes.end()) return nullptr;
  const auto* tensor = std::get_if<std::shared_ptr<const Tensor>>(&value->second);
  return tensor == nullptr ? nullptr : *tensor;
}

/// Turns the node's outputs into constants, if that can and should be done.
bool fold(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const ops::Operator* op = ops::find_operator(node.domain, node.op, graph.opset(node));
  if (op == nullptr || op->never_fold || op->infer == nullptr || !node.captures.empty()) return false;
  // The outside expects a node behind each of its outputs.
  if (std::ranges::any_of(node.outputs, [&](ValueId v) { return v != kNoValue && graph.is_output(v); }))
    return false;
  const auto inputs = constant_inputs(graph, node.inputs);
  if (!inputs.has_value()) return false;
  std::vector<std::shared_ptr<const Tensor>> results(node.outputs.size());
  if (auto stated = stated_tensor(node); stated != nullptr && results.size() == 1) {
    results[0] = std::move(stated);
  } else {
    if (!worth_keeping(graph, id, *op, *inputs)) return false;
    std::vector<Tensor> made = ops::evaluate_node(graph, id, *inputs);
    for (std::size_t i = 0; i < made.size(); ++i) {
      results[i] = std::make_shared<const Tensor>(std::move(made[i]));
    }
  }
  // make_constant() takes each output from the node, which the caller takes out.
  const std::vector<ValueId> outputs = node.outputs;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] != kNoValue) graph.make_constant(outputs[i], std::move(results[i]));
  }
  return true;
}

}  // namespace

int fold_constants(Graph& graph) {
  std::vector<NodeId> folded;
  for (const NodeId id : graph.order()) {
    if (fold(graph, id)) folded.push_back(id);
  }
  for (const NodeId id : folded) graph.remove_node(id);
  return static_cast<int>(folded.size());
}

}  // namespace ember::passes
