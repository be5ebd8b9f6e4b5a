#include "ops/interpreter.hpp"

#include <doctest/doctest.h>

#include <memory>

#include <ember/error.hpp>

#include "support/graph_builder.hpp"

using namespace ember;
using ember::test::GraphBuilder;

namespace {

/// A branch that copies the outer value it captures.
std::shared_ptr<const graph::Graph> copy_of(const std::string& captured) {
  auto branch = std::make_shared<graph::Graph>();
  branch->metadata.opsets[""] = 17;
  const graph::ValueId in = branch->add_value(captured);
  branch->captured.push_back(in);
  graph::Node node;
  node.op = "Identity";
  node.inputs = {in};
  node.outputs = {branch->add_value("branch_out")};
  branch->outputs = node.outputs;
  branch->add_node(std::move(node));
  return branch;
}

/// out = condition ? a : b, with branches that capture a and b.
graph::Graph choice() {
  GraphBuilder b;
  const auto condition = b.input("condition", DataType::Bool, {});
  const auto a = b.input("a", DataType::Float32, {2});
  const auto c = b.input("b", DataType::Float32, {1});
  graph::Node node;
  node.op = "If";
  node.inputs = {condition};
  node.attributes["then_branch"] = copy_of("a");
  node.attributes["else_branch"] = copy_of("b");
  node.captures = {c, a};  // attribute-name order: else_branch first
  node.outputs = {b.graph().add_value("out")};
  b.output(node.outputs[0]);
  b.graph().add_node(std::move(node));
  return b.graph();
}

std::vector<float> values(const Tensor& t) { return {t.data<float>().begin(), t.data<float>().end()}; }

}  // namespace

TEST_CASE("interpret runs nodes in order and copies inputs that are outputs") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2});
  const auto y = b.op("Identity", "y", {x});
  const auto z = b.op("Identity", "z", {y});
  for (const auto id : {x, y, z, y}) b.output(id);
  const auto outputs = ops::interpret(b.graph(), {{"x", Tensor({2}, std::vector<float>{1, -2})}});
  REQUIRE(outputs.size() == 4);
  for (const Tensor& output : outputs) CHECK(values(output) == std::vector<float>{1, -2});
}

TEST_CASE("interpret refuses a missing input and a wrong type") {
  GraphBuilder b;
  b.output(b.op("Identity", "y", {b.input("x", DataType::Float32, {1})}));
  CHECK_THROWS_AS(ops::interpret(b.graph(), {}), Error);
  CHECK_THROWS_AS(ops::interpret(b.graph(), {{"x", Tensor::scalar<std::int64_t>(1)}}), Error);
}

TEST_CASE("If runs the chosen branch on its own captures") {
  const graph::Graph graph = choice();
  for (const bool condition : {true, false}) {
    const auto outputs = ops::interpret(graph, {{"condition", Tensor::scalar(condition)},
                                                {"a", Tensor({2}, std::vector<float>{1, 2})},
                                                {"b", Tensor({1}, std::vector<float>{7})}});
    CHECK(values(outputs[0]) == (condition ? std::vector<float>{1, 2} : std::vector<float>{7}));
  }
  CHECK_THROWS_AS(ops::interpret(graph, {{"condition", Tensor({2}, std::vector<std::uint8_t>{1, 0})},
                                         {"a", Tensor({2}, std::vector<float>{1, 2})},
                                         {"b", Tensor({1}, std::vector<float>{7})}}),
                  Error);
}
