#include "graph/graph.hpp"

#include <doctest/doctest.h>

#include <ember/error.hpp>

using namespace ember;
using graph::Graph;
using graph::Node;
using graph::ValueId;

namespace {

/// x -> Relu -> a -> Relu -> y
struct Chain {
  Graph graph;
  ValueId x, a, y;
  graph::NodeId first, second;
  Chain() {
    x = graph.add_value("x", DataType::Float32);
    a = graph.add_value("a", DataType::Float32);
    y = graph.add_value("y", DataType::Float32);
    graph.inputs = {x};
    graph.outputs = {y};
    Node one{.name = "one", .op = "Relu"};
    one.inputs = {x};
    one.outputs = {a};
    first = graph.add_node(one);
    Node two{.name = "two", .op = "Relu"};
    two.inputs = {a};
    two.outputs = {y};
    second = graph.add_node(two);
  }
};

}  // namespace

TEST_CASE("a graph built in order verifies") {
  Chain c;
  CHECK_NOTHROW(graph::verify(c.graph));
  CHECK(c.graph.users(c.x) == std::vector<graph::NodeId>{c.first});
  CHECK(c.graph.value(c.y).producer == c.second);
}

TEST_CASE("replacing a graph output keeps the output's name") {
  Chain c;
  c.graph.replace_uses(c.y, c.a);
  c.graph.remove_node(c.second);
  CHECK_NOTHROW(graph::verify(c.graph));
  REQUIRE(c.graph.outputs.size() == 1);
  CHECK(c.graph.outputs[0] == c.a);
  CHECK(c.graph.value(c.a).name == "y");
}

TEST_CASE("an output that becomes an input passes through an Identity") {
  Chain c;
  c.graph.replace_uses(c.a, c.x);
  c.graph.remove_node(c.first);
  c.graph.replace_uses(c.y, c.x);
  CHECK_NOTHROW(graph::verify(c.graph));
  CHECK(c.graph.value(c.graph.outputs[0]).name == "y");
  CHECK(c.graph.node(c.graph.value(c.graph.outputs[0]).producer).op == "Identity");
}

TEST_CASE("sort restores the order and names a cycle") {
  Chain c;
  c.graph.set_input(c.first, 0, c.y);
  CHECK_THROWS_WITH_AS(c.graph.sort(), doctest::Contains("cycle"), Error);

  Graph backwards;
  const ValueId x = backwards.add_value("x");
  const ValueId a = backwards.add_value("a");
  const ValueId y = backwards.add_value("y");
  backwards.inputs = {x};
  backwards.outputs = {y};
  Node late{.op = "Relu"};
  late.inputs = {a};
  late.outputs = {y};
  backwards.add_node(late);
  Node early{.op = "Relu"};
  early.inputs = {x};
  early.outputs = {a};
  backwards.add_node(early);
  CHECK_THROWS_AS(graph::verify(backwards), Error);
  backwards.sort();
  CHECK_NOTHROW(graph::verify(backwards));
}

TEST_CASE("remove_dead drops what nobody reads") {
  Chain c;
  const ValueId unread = c.graph.add_value("unread");
  Node dangling{.op = "Relu"};
  dangling.inputs = {c.a};
  dangling.outputs = {unread};
  c.graph.add_node(dangling);
  const ValueId weight = c.graph.add_constant("w", Tensor::scalar(1.0F));
  CHECK(c.graph.remove_dead() == 1);
  CHECK(c.graph.constant(weight) == nullptr);
  CHECK_NOTHROW(graph::verify(c.graph));
}
