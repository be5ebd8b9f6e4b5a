#include "ops/control_flow.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/interpreter.hpp"
#include "ops/registry.hpp"

// If. Its branches read values of the outer graph, which EvalContext does not carry: the interpreter and
// the planner run it themselves, so it has a shape rule and no reference.

namespace ember::ops {

namespace {

constexpr std::string_view kThen = "then_branch";
constexpr std::string_view kElse = "else_branch";

/// Values worth computing while shapes are inferred: shape arithmetic, not weights.
constexpr std::int64_t kMaxFoldedElements = 4096;

/// What is known of every value of a subgraph while its nodes are walked in order.
class Knowledge {
 public:
  Knowledge(const graph::Graph& graph, std::span<const InferContext::Input> captured)
      : graph_(graph), known_(graph.value_count()), folded_(graph.value_count()) {
    for (std::size_t i = 0; i < known_.size(); ++i) {
      const Tensor* constant = graph.constant(static_cast<graph::ValueId>(i));
      if (constant != nullptr)
        known_[i] = {.type = constant->type(), .shape = constant->shape(), .value = constant};
    }
    for (std::size_t i = 0; i < captured.size(); ++i) known_[index(graph.captured[i])] = captured[i];
  }

  void visit(graph::NodeId id) {
    const graph::Node& node = graph_.node(id);
    const std::vector<InferContext::Input> inputs = collect(node.inputs);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const bool wanted = node.inputs[i] != graph::kNoValue;
      if (wanted && inputs[i].type == DataType::Undefined) return;  // its outputs stay unknown too
    }
    std::vector<InferContext::Output> outputs(node.outputs.size());
    InferContext context(graph_, id, inputs, outputs);
    try {
      operator_of(graph_, id).infer(context);
    } catch (const DataDependent&) {
      return;
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (node.outputs[i] == graph::kNoValue) continue;
      known_[index(node.outputs[i])] = {.type = outputs[i].type, .shape = outputs[i].shape};
    }
    fold(id, inputs);
  }

  [[nodiscard]] const InferContext::Input& operator[](graph::ValueId id) const { return known_[index(id)]; }

 private:
  static std::size_t index(graph::ValueId id) { return static_cast<std::size_t>(id); }

  [[nodiscard]] std::vector<InferContext::Input> collect(const std::vector<graph::ValueId>& values) const {
    std::vector<InferContext::Input> inputs(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] != graph::kNoValue) inputs[i] = known_[index(values[i])];
    }
    return inputs;
  }

  /// Computes the outputs of a small node whose inputs are all known (Shape needs only the shape).
  void fold(graph::NodeId id, const std::vector<InferContext::Input>& inputs) {
    const graph::Node& node = graph_.node(id);
    const Operator& op = operator_of(graph_, id);
    if (op.reference == nullptr || op.never_fold) return;
    for (const graph::ValueId output : node.outputs) {
      if (output != graph::kNoValue && known_[index(output)].shape.elements() > kMaxFoldedElements) return;
    }
    std::vector<ConstTensorView> views(inputs.size());
    const bool needs_values = node.op != "Shape" && node.op != "Size";
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (node.inputs[i] == graph::kNoValue) continue;
      if (inputs[i].value == nullptr && needs_values) return;
      views[i] = {inputs[i].type, inputs[i].shape,
                  inputs[i].value == nullptr ? nullptr : inputs[i].value->raw()};
    }
    std::vector<TensorView> made(node.outputs.size());
    for (std::size_t i = 0; i < made.size(); ++i) {
      if (node.outputs[i] == graph::kNoValue) continue;
      InferContext::Input& known = known_[index(node.outputs[i])];
      auto tensor = std::make_unique<Tensor>(known.type, known.shape);
      made[i] = tensor->view();
      known.value = tensor.get();
      folded_[index(node.outputs[i])] = std::move(tensor);
    }
    EvalContext context(graph_, id, views, made);
    op.reference(context);
  }

  const graph::Graph& graph_;
  std::vector<InferContext::Input> known_;
  std::vector<std::unique_ptr<Tensor>> folded_;
};

void check_if(const NodeContext& c, std::vector<std::string>& reasons) {
  for (const std::string_view name : {kThen, kElse}) {
    const graph::Graph* branch = c.subgraph(name);
    if (branch == nullptr) {
      reasons.push_back(fmt::format("attribute '{}' is missing", name));
    } else if (!branch->inputs.empty()) {
      reasons.push_back(fmt::format("{} has inputs", name));
    } else if (branch->outputs.size() < static_cast<std::size_t>(c.output_count())) {
      reasons.push_back(
          fmt::format("{} has {} outputs, the node {}", name, branch->outputs.size(), c.output_count()));
    }
  }
}

std::vector<InferContext::Output> infer_branch(const InferContext& c, std::string_view name) {
  const graph::Graph* branch = c.subgraph(name);
  c.require(branch != nullptr, fmt::format("attribute '{}' is missing", name));
  const CaptureRange range = capture_range(c, name);
  std::vector<InferContext::Input> captured(range.count);
  for (std::size_t i = 0; i < range.count; ++i) {
    const Tensor* constant = c.graph().constant(c.node().captures[range.first + i]);
    if (constant != nullptr)
      captured[i] = {.type = constant->type(), .shape = constant->shape(), .value = constant};
  }
  std::vector<InferContext::Output> outputs = infer_subgraph(*branch, captured);
  c.require(outputs.size() >= static_cast<std::size_t>(c.output_count()),
            fmt::format("{} has too few outputs", name));
  return outputs;
}

void infer_if(InferContext& c) {
  std::vector<InferContext::Output> chosen;
  if (const Tensor* condition = c.value(0)) {
    chosen = infer_branch(c, selected_branch(c, condition->view()));
  } else {
    chosen = infer_branch(c, kThen);
    const std::vector<InferContext::Output> other = infer_branch(c, kElse);
    for (int i = 0; i < c.output_count(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (chosen[at].type != other[at].type || !(chosen[at].shape == other[at].shape)) throw DataDependent{};
    }
  }
  for (int i = 0; i < c.output_count(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    c.set_output(i, chosen[at].type, chosen[at].shape);
  }
}

}  // namespace

CaptureRange capture_range(const NodeContext& node, std::string_view name) {
  CaptureRange range;
  for (const auto& [key, attribute] : node.node().attributes) {
    const auto* subgraph = std::get_if<std::shared_ptr<const graph::Graph>>(&attribute);
    if (subgraph == nullptr) continue;
    range.count = (*subgraph)->captured.size();
    if (key == name) {
      node.require(range.first + range.count <= node.node().captures.size(),
                   "the captured values do not match the subgraphs");
      return range;
    }
    range.first += range.count;
  }
  node.fail(ErrorCode::InvalidModel, fmt::format("attribute '{}' is missing", name));
}

std::string_view selected_branch(const NodeContext& node, const ConstTensorView& condition) {
  node.require(condition.type() == DataType::Bool && condition.elements() == 1,
               "the condition must be one bool");
  return condition.data<bool>()[0] ? kThen : kElse;
}

std::vector<InferContext::Output> infer_subgraph(const graph::Graph& subgraph,
                                                 std::span<const InferContext::Input> captured) {
  Knowledge knowledge(subgraph, captured);
  for (const graph::NodeId id : subgraph.order()) knowledge.visit(id);
  std::vector<InferContext::Output> outputs;
  for (const graph::ValueId id : subgraph.outputs) {
    if (knowledge[id].type == DataType::Undefined) throw DataDependent{};
    outputs.push_back({.type = knowledge[id].type, .shape = knowledge[id].shape});
  }
  return outputs;
}

void add_control_flow_operators(OperatorList& list) {
  list.push_back(
      {.name = "If", .versions = {1, 11, 13, 16, 19, 21, 23, 24, 25}, .check = check_if, .infer = infer_if});
}

}  // namespace ember::ops
