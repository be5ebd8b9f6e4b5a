#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ember/tensor.hpp>

#include "graph/graph.hpp"

namespace ember::test {

/// Builds small graphs in tests, one line per node.
class GraphBuilder {
 public:
  explicit GraphBuilder(int opset = 17) {
    graph_.name = "test";
    graph_.metadata.model_name = "test";
    graph_.metadata.opsets[""] = opset;
  }

  graph::ValueId input(const std::string& name, DataType type, const std::vector<std::int64_t>& dims) {
    std::vector<graph::Dim> extents;
    for (const std::int64_t d : dims) extents.push_back({.size = d, .symbol = d < 0 ? "N" : ""});
    const graph::ValueId id = graph_.add_value(name, type, std::move(extents));
    graph_.inputs.push_back(id);
    return id;
  }

  graph::ValueId constant(const std::string& name, Tensor tensor) {
    return graph_.add_constant(name, std::move(tensor));
  }

  using Attributes = std::map<std::string, graph::Attribute, std::less<>>;

  /// Adds a node with `outputs` outputs named <name>_0, <name>_1, … (just <name> when there is one).
  std::vector<graph::ValueId> node(const std::string& op, const std::string& name,
                                   std::vector<graph::ValueId> inputs, Attributes attributes = {},
                                   int outputs = 1, const std::string& domain = "") {
    graph::Node node;
    node.name = name + "_node";
    node.op = op;
    node.domain = domain;
    node.attributes = std::move(attributes);
    node.inputs = std::move(inputs);
    for (int i = 0; i < outputs; ++i) {
      node.outputs.push_back(graph_.add_value(outputs == 1 ? name : name + "_" + std::to_string(i)));
    }
    std::vector<graph::ValueId> made = node.outputs;
    graph_.add_node(std::move(node));
    return made;
  }

  /// The same for a node with one output.
  graph::ValueId op(const std::string& type, const std::string& name, std::vector<graph::ValueId> inputs,
                    Attributes attributes = {}) {
    return node(type, name, std::move(inputs), std::move(attributes))[0];
  }

  void output(graph::ValueId id) { graph_.outputs.push_back(id); }

  [[nodiscard]] const graph::Graph& graph() const { return graph_; }
  [[nodiscard]] graph::Graph& graph() { return graph_; }

 private:
  graph::Graph graph_;
};

}  // namespace ember::test
