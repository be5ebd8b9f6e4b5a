#pragma once

#include <string>

#include "graph/graph.hpp"

namespace ember::onnx {

/// A graph being read, and the graph around it: names are looked up from the inside out.
class Scope {
 public:
  Scope(graph::Graph& graph, Scope* outer) : graph_(&graph), outer_(outer) {}

  [[nodiscard]] graph::Graph& graph() const noexcept { return *graph_; }
  /// The value of that name; one from further out becomes a captured value of every graph in between.
  /// kNoValue when no graph has it.
  graph::ValueId resolve(const std::string& name);

 private:
  graph::Graph* graph_;
  Scope* outer_;
};

}  // namespace ember::onnx
