#include "ops/control_flow.hpp"

#include <doctest/doctest.h>

#include <memory>

#include <ember/error.hpp>

#include "support/graph_builder.hpp"

using namespace ember;
using ember::test::GraphBuilder;
using Ints = std::vector<std::int64_t>;

namespace {

/// A branch that reshapes the value it captures by a constant shape computed from a Concat.
std::shared_ptr<const graph::Graph> reshaping_branch(const Ints& dims) {
  GraphBuilder b;
  const graph::ValueId captured = b.graph().add_value("x");
  b.graph().captured.push_back(captured);
  std::vector<graph::ValueId> parts;
  for (const std::int64_t dim : dims)
    parts.push_back(b.constant("d" + std::to_string(parts.size()), Tensor({1}, Ints{dim})));
  const auto shape = b.op("Concat", "shape", parts, {{"axis", std::int64_t{0}}});
  b.output(b.op("Reshape", "y", {captured, shape}));
  return std::make_shared<const graph::Graph>(b.graph());
}

/// If whose branches reshape one constant of 6 elements; the condition is an input, or constant.
graph::Graph choice(const Ints& then_dims, const Ints& else_dims, bool constant_condition = false) {
  GraphBuilder b;
  const auto condition = constant_condition ? b.constant("condition", Tensor::scalar(true))
                                            : b.input("condition", DataType::Bool, {});
  const auto x = b.constant("x", Tensor({6}, std::vector<float>{1, 2, 3, 4, 5, 6}));
  graph::Node node;
  node.op = "If";
  node.inputs = {condition};
  node.attributes["then_branch"] = reshaping_branch(then_dims);
  node.attributes["else_branch"] = reshaping_branch(else_dims);
  node.captures = {x, x};
  node.outputs = {b.graph().add_value("out")};
  b.output(node.outputs[0]);
  b.graph().add_node(std::move(node));
  return b.graph();
}

ops::InferContext::Output infer(const graph::Graph& graph) {
  const graph::NodeId id = graph.order().front();
  const Tensor* condition = graph.constant(graph.node(id).inputs[0]);
  const std::vector<ops::InferContext::Input> inputs{
      {.type = DataType::Bool, .shape = {}, .value = condition}};
  std::vector<ops::InferContext::Output> outputs(1);
  ops::InferContext context(graph, id, inputs, outputs);
  ops::operator_of(graph, id).infer(context);
  return outputs[0];
}

}  // namespace

TEST_CASE("If has a static shape when both branches agree") {
  const auto agreed = infer(choice({2, 3}, {2, 3}));
  CHECK(agreed.type == DataType::Float32);
  CHECK(agreed.shape == Shape{2, 3});
  CHECK_THROWS_AS(infer(choice({2, 3}, {3, 2})), ops::DataDependent);
}

TEST_CASE("a known condition decides the shape of If") {
  CHECK(infer(choice({2, 3}, {3, 2}, true)).shape == Shape{2, 3});
}

TEST_CASE("a capture whose shape is unknown makes If depend on data") {
  graph::Graph graph = choice({2, 3}, {2, 3});
  const graph::NodeId id = graph.order().front();
  const graph::ValueId open = graph.add_value("open");
  graph.inputs.push_back(open);
  graph.set_capture(id, 0, open);
  CHECK_THROWS_AS(infer(graph), ops::DataDependent);
}

TEST_CASE("infer_subgraph follows captured shapes") {
  GraphBuilder b;
  const graph::ValueId captured = b.graph().add_value("x");
  b.graph().captured.push_back(captured);
  const auto shape = b.op("Shape", "shape", {captured});
  b.output(b.op("ConstantOfShape", "zeros", {shape}));
  const std::vector<ops::InferContext::Input> known{{.type = DataType::Float32, .shape = {4, 0, 5}}};
  CHECK(ops::infer_subgraph(b.graph(), known)[0].shape == Shape{4, 0, 5});
  const std::vector<ops::InferContext::Input> nothing(1);
  CHECK_THROWS_AS(ops::infer_subgraph(b.graph(), nothing), ops::DataDependent);
}

TEST_CASE("capture_range follows the order of attribute names") {
  const graph::Graph graph = choice({6}, {6});
  const ops::NodeContext node(graph, graph.order().front());
  CHECK(ops::capture_range(node, "else_branch").first == 0);
  CHECK(ops::capture_range(node, "then_branch").first == 1);
  CHECK(ops::capture_range(node, "then_branch").count == 1);
  CHECK_THROWS_AS(ops::capture_range(node, "body"), Error);
}

TEST_CASE("an If without a branch is reported at load") {
  graph::Graph graph = choice({6}, {6});
  graph.node(graph.order().front()).attributes.erase("else_branch");
  const auto lines = ops::unsupported(graph);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("'else_branch' is missing") != std::string::npos);
}
