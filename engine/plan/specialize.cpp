#include "plan/specialize.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ember/error.hpp>

#include "ops/control_flow.hpp"
#include "ops/interpreter.hpp"
#include "ops/op.hpp"

namespace ember::plan {

using graph::Graph;
using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

namespace {

/// Results beyond this are computed at run time rather than kept in the plan.
constexpr std::size_t kFoldLimit = std::size_t{64} << 20;

class Specializer {
 public:
  explicit Specializer(Specialized& result) : result_(result), graph_(result.graph) {}

  void run() {
    // Indices into order(), read afresh: inlining a branch inserts nodes at the present position.
    std::size_t at = 0;
    while (at < graph_.order().size()) {
      const NodeId id = graph_.order()[at];
      const bool is_branch = graph_.node(id).op == "If" && graph_.node(id).domain.empty();
      const bool gone = is_branch ? visit_branch(id) : visit(id);
      if (!gone) ++at;  // otherwise the next node, or the first inlined one, now stands here
    }
    grow_facts();
  }

 private:
  /// Infers the node's outputs; true when it was folded away.
  bool visit(NodeId id) {
    const graph::Node& node = graph_.node(id);
    const ops::Operator& op = ops::operator_of(graph_, id);
    grow_facts();
    if (!std::ranges::all_of(node.inputs, [&](ValueId v) { return result_.is_static(v); })) return false;
    std::vector<ops::InferContext::Input> inputs(node.inputs.size());
    bool all_known = !op.never_fold;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      if (v == kNoValue) continue;
      inputs[i] = {result_.fact(v).type, *result_.fact(v).shape, graph_.constant(v)};
      all_known = all_known && inputs[i].value != nullptr;
    }
    std::vector<ops::InferContext::Output> outputs(node.outputs.size());
    ops::InferContext context(graph_, id, inputs, outputs);
    try {
      op.infer(context);
    } catch (const ops::DataDependent&) {
      return false;
    }
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      result_.facts[static_cast<std::size_t>(node.outputs[i])] = {outputs[i].type, outputs[i].shape};
      bytes += static_cast<std::size_t>(outputs[i].shape.elements()) * size_of(outputs[i].type);
    }
    const bool shape_only = node.domain.empty() && (node.op == "Shape" || node.op == "Size");
    if ((!all_known && !shape_only) || bytes > kFoldLimit) return false;
    fold(id);
    return true;
  }

  void fold(NodeId id) {
    const graph::Node& node = graph_.node(id);
    std::vector<Tensor> placeholders;  // for Shape and Size, which look at no element
    placeholders.reserve(node.inputs.size());
    std::vector<const Tensor*> inputs;
    for (const ValueId v : node.inputs) {
      const Tensor* known = graph_.constant(v);
      if (known == nullptr && v != kNoValue) {
        known = &placeholders.emplace_back(
            Tensor::adopt(result_.fact(v).type, *result_.fact(v).shape, nullptr, nullptr));
      }
      inputs.push_back(known);
    }
    const std::vector<ValueId> outputs = node.outputs;
    std::vector<Tensor> values = ops::evaluate_node(graph_, id, inputs);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] == kNoValue) continue;
      graph_.make_constant(outputs[i], std::make_shared<const Tensor>(std::move(values[i])));
    }
    graph_.remove_node(id);
  }

  /// True when the branch was inlined and the node is gone.
  bool visit_branch(NodeId id) {
    grow_facts();
    const Tensor* condition = graph_.constant(graph_.node(id).inputs.at(0));
    if (condition != nullptr) {
      inline_branch(id, condition->data<bool>()[0]);
      return true;
    }
    Specialized::Branches branches;
    branches.then_branch = specialize_branch(id, true);
    branches.else_branch = specialize_branch(id, false);
    const std::vector<ValueId> outputs = graph_.node(id).outputs;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] == kNoValue) continue;
      const Fact& a = branches.then_branch->fact(branches.then_branch->graph.outputs[i]);
      const Fact& b = branches.else_branch->fact(branches.else_branch->graph.outputs[i]);
      if (a.shape.has_value() && a.shape == b.shape && a.type == b.type) {
        result_.facts[static_cast<std::size_t>(outputs[i])] = a;
      }
    }
    result_.branches.emplace(id, std::move(branches));
    return false;
  }

  std::unique_ptr<Specialized> specialize_branch(NodeId id, bool taken) {
    const Branch branch = branch_of(graph_, id, taken);
    std::vector<CapturedFact> captured;
    for (const ValueId v : branch.captures) captured.push_back({result_.fact(v), graph_.value(v).constant});
    return std::make_unique<Specialized>(specialize(*branch.graph, {}, captured));
  }

  void inline_branch(NodeId id, bool taken) {
    const Branch branch = branch_of(graph_, id, taken);
    const Graph& inner = *branch.graph;
    std::vector<ValueId> outer(inner.value_count(), kNoValue);
    for (std::size_t i = 0; i < inner.captured.size(); ++i) {
      outer[static_cast<std::size_t>(inner.captured[i])] = branch.captures[i];
    }
    const auto map = [&](ValueId v) {
      if (v == kNoValue) return v;
      ValueId& mapped = outer[static_cast<std::size_t>(v)];
      if (mapped == kNoValue) {
        const graph::Value& value = inner.value(v);
        mapped = value.constant != nullptr ? graph_.add_constant(value.name, value.constant)
                                           : graph_.add_value(value.name, value.type, value.dims);
      }
      return mapped;
    };
    for (const NodeId inner_id : inner.order()) {
      graph::Node copy = inner.node(inner_id);
      for (auto* list : {&copy.inputs, &copy.outputs, &copy.captures})
        std::ranges::transform(*list, list->begin(), map);
      graph_.add_node(std::move(copy), id);
    }
    const std::vector<ValueId> outputs = graph_.node(id).outputs;
    graph_.remove_node(id);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] != kNoValue) graph_.replace_uses(outputs[i], map(inner.outputs[i]));
    }
    grow_facts();
  }

  /// Values that edits added: constants know their fact, others wait for their producer's visit.
  void grow_facts() {
    for (std::size_t at = result_.facts.size(); at < graph_.value_count(); ++at) {
      const Tensor* known = graph_.constant(static_cast<ValueId>(at));
      result_.facts.push_back(known != nullptr ? Fact{known->type(), known->shape()} : Fact{});
    }
  }

  Specialized& result_;
  Graph& graph_;
};

}  // namespace

Branch branch_of(const Graph& graph, NodeId conditional, bool taken) {
  const ops::NodeContext node(graph, conditional);
  const char* name = taken ? "then_branch" : "else_branch";
  const auto captures = ops::capture_range(node, name).of(std::span(node.node().captures));
  return {node.subgraph(name), {captures.begin(), captures.end()}};
}

ValueId Specialized::add_value(const std::string& name, const Fact& fact) {
  const ValueId id = graph.add_value(name, fact.type);
  facts.resize(graph.value_count());
  facts[static_cast<std::size_t>(id)] = fact;
  return id;
}

ValueId Specialized::add_constant(const std::string& name, std::shared_ptr<const Tensor> tensor) {
  const Fact fact{tensor->type(), tensor->shape()};
  const ValueId id = graph.add_constant(name, std::move(tensor));
  facts.resize(graph.value_count());
  facts[static_cast<std::size_t>(id)] = fact;
  return id;
}

std::map<std::string, Shape> resolve_input_shapes(const Graph& graph,
                                                  const std::map<std::string, Shape>& wanted) {
  std::map<std::string, Shape> shapes;
  for (const ValueId id : graph.inputs) {
    const graph::Value& value = graph.value(id);
    const auto found = wanted.find(value.name);
    if (!value.dims.has_value()) {
      if (found == wanted.end()) {
        throw Error(ErrorCode::InvalidArgument, "the model does not state the rank of this input",
                    {.model = graph.metadata.model_name, .tensor = value.name, .cure = "give its shape"});
      }
      shapes.emplace(value.name, found->second);
      continue;
    }
    std::vector<std::int64_t> declared;
    for (const graph::Dim& dim : *value.dims) declared.push_back(dim.size);
    if (found == wanted.end()) {
      for (std::int64_t& extent : declared) extent = extent < 0 ? 1 : extent;
      shapes.emplace(value.name, Shape(declared));
      continue;
    }
    const Shape& given = found->second;
    bool fits = given.rank() == static_cast<int>(declared.size());
    for (int axis = 1; fits && axis < given.rank(); ++axis) {
      const std::int64_t extent = declared[static_cast<std::size_t>(axis)];
      fits = extent < 0 || extent == given[axis];
    }
    if (!fits) {
      std::vector<std::string> parts;
      for (const graph::Dim& dim : *value.dims) {
        parts.push_back(dim.size >= 0 ? std::to_string(dim.size) : dim.symbol.empty() ? "?" : dim.symbol);
      }
      throw Error(
          ErrorCode::InvalidArgument,
          fmt::format("shape {} does not fit the declared [{}]", to_string(given), fmt::join(parts, ", ")),
          {.model = graph.metadata.model_name, .tensor = value.name});
    }
    shapes.emplace(value.name, given);
  }
  for (const auto& [name, shape] : wanted) {
    if (shapes.contains(name)) continue;
    std::vector<std::string> names;
    for (const ValueId id : graph.inputs) names.push_back(graph.value(id).name);
    throw Error(ErrorCode::InvalidArgument, "the model has no such input",
                {.model = graph.metadata.model_name,
                 .tensor = name,
                 .cure = fmt::format("its inputs are: {}", fmt::join(names, ", "))});
  }
  return shapes;
}

Specialized specialize(const Graph& graph, const std::map<std::string, Shape>& input_shapes,
                       std::span<const CapturedFact> captured) {
  Specialized result{.graph = graph, .facts = {}, .branches = {}};
  result.facts.resize(graph.value_count());
  for (std::size_t i = 0; i < captured.size(); ++i) {
    const ValueId id = graph.captured[i];
    if (captured[i].constant != nullptr) result.graph.make_constant(id, captured[i].constant);
    result.facts[static_cast<std::size_t>(id)] = captured[i].fact;
  }
  for (std::size_t at = 0; at < graph.value_count(); ++at) {
    const Tensor* known = graph.constant(static_cast<ValueId>(at));
    if (known != nullptr) result.facts[at] = {known->type(), known->shape()};
  }
  for (const ValueId id : graph.inputs) {
    result.facts[static_cast<std::size_t>(id)] = {graph.value(id).type,
                                                  input_shapes.at(graph.value(id).name)};
  }
  Specializer(result).run();
  result.graph.remove_dead();
  std::erase_if(result.branches, [&](const auto& entry) {
    return std::ranges::find(result.graph.order(), entry.first) == result.graph.order().end();
  });
  graph::verify(result.graph);
  return result;
}

}  // namespace ember::plan
