#include "ops/interpreter.hpp"

#include <cstddef>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/control_flow.hpp"

namespace ember::ops {

namespace {

/// An output beyond this is taken for a mistake or an attack.
constexpr std::int64_t kMaxOutputBytes = std::int64_t{8} << 30;

ErrorContext place(const NodeContext& node) {
  return {.model = node.graph().metadata.model_name,
          .node = node.graph().label(node.id()),
          .op = std::string(node.op()),
          .opset = node.opset()};
}

Tensor allocate_output(const NodeContext& node, int i, const InferContext::Output& wanted) {
  if (wanted.type == DataType::Undefined) {
    node.fail(ErrorCode::Internal, fmt::format("the shape rule says nothing about output {}", i));
  }
  const auto element = static_cast<std::int64_t>(size_of(wanted.type));
  if (wanted.shape.elements() > kMaxOutputBytes / element) {
    node.fail(ErrorCode::ResourceLimit,
              fmt::format("output {} of shape {} ({}) would need more than {} GiB", i,
                          to_string(wanted.shape), to_string(wanted.type), kMaxOutputBytes >> 30));
  }
  return {wanted.type, wanted.shape};
}

std::vector<InferContext::Output> infer_outputs(const graph::Graph& graph, graph::NodeId id,
                                                const Operator& op, std::span<const Tensor* const> inputs) {
  std::vector<InferContext::Input> known(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == nullptr) continue;
    known[i] = {.type = inputs[i]->type(), .shape = inputs[i]->shape(), .value = inputs[i]};
  }
  std::vector<InferContext::Output> outputs(graph.node(id).outputs.size());
  InferContext context(graph, id, known, outputs);
  try {
    op.infer(context);
  } catch (const DataDependent&) {
    context.fail(ErrorCode::Internal, "the output shape depends on data although all inputs are known");
  }
  return outputs;
}

std::vector<Tensor> evaluate_if(const NodeContext& node, std::span<const Tensor* const> inputs,
                                std::span<const Tensor* const> captures) {
  node.require(inputs.size() == 1, "If takes one input, the condition");
  const std::string_view branch = selected_branch(node, inputs[0]->view());
  const graph::Graph& subgraph = *node.subgraph(branch);
  std::vector<Tensor> outputs = interpret(subgraph, {}, capture_range(node, branch).of(captures));
  node.require(outputs.size() >= node.node().outputs.size(), fmt::format("{} has too few outputs", branch));
  outputs.resize(node.node().outputs.size());
  return outputs;
}

std::vector<Tensor> evaluate_by_reference(const NodeContext& node, const Operator& op,
                                          std::span<const Tensor* const> inputs) {
  const std::vector<InferContext::Output> wanted = infer_outputs(node.graph(), node.id(), op, inputs);
  std::vector<Tensor> outputs(wanted.size());
  std::vector<TensorView> output_views(wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!node.has_output(static_cast<int>(i))) continue;
    outputs[i] = allocate_output(node, static_cast<int>(i), wanted[i]);
    output_views[i] = outputs[i].view();
  }
  std::vector<ConstTensorView> input_views(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] != nullptr) input_views[i] = inputs[i]->view();
  }
  EvalContext context(node.graph(), node.id(), input_views, output_views);
  op.reference(context);
  return outputs;
}

/// The values of one run over a graph. A tensor goes when its last reader has run.
class Values {
 public:
  explicit Values(const graph::Graph& graph)
      : graph_(graph),
        owned_(graph.value_count()),
        visible_(graph.value_count(), nullptr),
        readers_(graph.value_count(), 0) {
    for (std::size_t i = 0; i < visible_.size(); ++i) {
      const auto id = static_cast<graph::ValueId>(i);
      visible_[i] = graph.constant(id);
      readers_[i] = graph.users(id).size();
    }
    for (const graph::ValueId id : graph.outputs) ++readers_[index(id)];
  }

  [[nodiscard]] const Tensor* get(graph::ValueId id) const {
    return id == graph::kNoValue ? nullptr : visible_[index(id)];
  }
  void borrow(graph::ValueId id, const Tensor* tensor) { visible_[index(id)] = tensor; }
  void store(graph::ValueId id, Tensor tensor) {
    if (id == graph::kNoValue || readers_[index(id)] == 0) return;
    owned_[index(id)] = std::move(tensor);
    visible_[index(id)] = &owned_[index(id)];
  }
  /// `node` has run: one reader fewer for everything it read.
  void release_inputs(const graph::Node& node) {
    std::set<graph::ValueId> read(node.inputs.begin(), node.inputs.end());
    read.insert(node.captures.begin(), node.captures.end());
    for (const graph::ValueId id : read) {
      if (id != graph::kNoValue) release(id);
    }
  }
  /// A graph output: moved out when nothing else needs it.
  Tensor take(graph::ValueId id) {
    const Tensor* held = visible_[index(id)];
    if (held == nullptr) {
      throw Error(ErrorCode::InvalidModel, "nothing produces a graph output",
                  {.model = graph_.metadata.model_name, .tensor = graph_.value(id).name});
    }
    if (held == &owned_[index(id)] && readers_[index(id)] == 1) return std::move(owned_[index(id)]);
    Tensor copy = *held;
    release(id);
    return copy;
  }

 private:
  static std::size_t index(graph::ValueId id) { return static_cast<std::size_t>(id); }
  void release(graph::ValueId id) {
    if (readers_[index(id)] == 0 || --readers_[index(id)] != 0) return;
    owned_[index(id)] = Tensor();
    visible_[index(id)] = nullptr;
  }

  const graph::Graph& graph_;
  std::vector<Tensor> owned_;
  std::vector<const Tensor*> visible_;
  std::vector<std::size_t> readers_;  ///< nodes still to run that read the value, plus uses as graph output
};

void bind_inputs(Values& values, const graph::Graph& graph, const std::map<std::string, Tensor>& inputs,
                 std::span<const Tensor* const> captured) {
  for (const graph::ValueId id : graph.inputs) {
    const graph::Value& value = graph.value(id);
    const auto given = inputs.find(value.name);
    const ErrorContext where{.model = graph.metadata.model_name, .tensor = value.name};
    if (given == inputs.end()) throw Error(ErrorCode::InvalidArgument, "no value for this input", where);
    if (value.type != DataType::Undefined && given->second.type() != value.type) {
      throw Error(ErrorCode::InvalidArgument,
                  fmt::format("the input is {}, the model wants {}", to_string(given->second.type()),
                              to_string(value.type)),
                  where);
    }
    values.borrow(id, &given->second);
  }
  if (captured.size() != graph.captured.size()) {
    throw Error(
        ErrorCode::Internal,
        fmt::format("a subgraph captures {} values and was given {}", graph.captured.size(), captured.size()),
        {.model = graph.metadata.model_name});
  }
  for (std::size_t i = 0; i < captured.size(); ++i) values.borrow(graph.captured[i], captured[i]);
}

std::vector<const Tensor*> gather(const Values& values, const graph::Graph& graph, graph::NodeId id,
                                  const std::vector<graph::ValueId>& wanted) {
  std::vector<const Tensor*> tensors;
  tensors.reserve(wanted.size());
  for (const graph::ValueId value : wanted) {
    const Tensor* tensor = values.get(value);
    if (tensor == nullptr && value != graph::kNoValue) {
      NodeContext(graph, id).fail(ErrorCode::InvalidModel,
                                  fmt::format("reads '{}', which nothing produces", graph.value(value).name));
    }
    tensors.push_back(tensor);
  }
  return tensors;
}

}  // namespace

std::vector<Tensor> evaluate_node(const graph::Graph& graph, graph::NodeId id,
                                  std::span<const Tensor* const> inputs,
                                  std::span<const Tensor* const> captures) {
  const Operator& op = operator_of(graph, id);
  const NodeContext node(graph, id);
  for (std::size_t i = 0; i < node.node().inputs.size(); ++i) {
    if (node.has_input(static_cast<int>(i)) && (i >= inputs.size() || inputs[i] == nullptr)) {
      node.fail(ErrorCode::Internal, fmt::format("input {} has no tensor", i));
    }
  }
  try {
    if (op.reference == nullptr) return evaluate_if(node, inputs, captures);
    return evaluate_by_reference(node, op, inputs);
  } catch (const Error& error) {
    throw error.within(place(node));
  }
}

std::vector<Tensor> interpret(const graph::Graph& graph, const std::map<std::string, Tensor>& inputs,
                              std::span<const Tensor* const> captured) {
  Values values(graph);
  bind_inputs(values, graph, inputs, captured);
  for (const graph::NodeId id : graph.order()) {
    const graph::Node& node = graph.node(id);
    const std::vector<const Tensor*> read = gather(values, graph, id, node.inputs);
    const std::vector<const Tensor*> captures = gather(values, graph, id, node.captures);
    std::vector<Tensor> made = evaluate_node(graph, id, read, captures);
    for (std::size_t i = 0; i < made.size(); ++i) values.store(node.outputs[i], std::move(made[i]));
    values.release_inputs(node);
  }
  std::vector<Tensor> outputs;
  outputs.reserve(graph.outputs.size());
  for (const graph::ValueId id : graph.outputs) outputs.push_back(values.take(id));
  return outputs;
}

}  // namespace ember::ops
