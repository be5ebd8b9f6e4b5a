#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.hpp"
#include "support/graph_builder.hpp"

namespace ember::test {

/// A branch of an If: one node on values of `graph`, whose captured values are given.
inline std::shared_ptr<const graph::Graph> branch_of(std::shared_ptr<graph::Graph> graph,
                                                     const std::string& op,
                                                     std::vector<graph::ValueId> inputs) {
  graph->metadata.opsets[""] = 17;
  graph::Node node;
  node.op = op;
  node.inputs = std::move(inputs);
  node.outputs = {graph->add_value("result")};
  graph->outputs = node.outputs;
  graph->add_node(std::move(node));
  return graph;
}

/// Makes the float32 output y = condition ? then_branch : else_branch, both of which capture `captures`.
inline void add_choice(GraphBuilder& b, graph::ValueId condition,
                       std::shared_ptr<const graph::Graph> then_branch,
                       std::shared_ptr<const graph::Graph> else_branch,
                       const std::vector<graph::ValueId>& captures) {
  graph::Node node;
  node.name = "choose";
  node.op = "If";
  node.inputs = {condition};
  node.attributes["then_branch"] = std::move(then_branch);
  node.attributes["else_branch"] = std::move(else_branch);
  node.captures = captures;  // each branch's in turn, in the order of the attributes' names
  node.captures.insert(node.captures.end(), captures.begin(), captures.end());
  node.outputs = {b.graph().add_value("y", DataType::Float32)};
  const graph::ValueId y = node.outputs[0];
  b.graph().add_node(std::move(node));
  b.output(y);
}

}  // namespace ember::test
