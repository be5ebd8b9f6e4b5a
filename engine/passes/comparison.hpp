#pragma once

#include <map>
#include <string>
#include <vector>

#include <ember/tensor.hpp>

#include "graph/graph.hpp"

namespace ember::passes {

/// Holds a graph's outputs on random input, computed by the references, against those of later forms of
/// the same graph.
class Comparison {
 public:
  /// Runs the graph as it is now. Open extents are taken as 1, integers are 0 or 1. A graph that does not
  /// run on such input is not compared, and standard error says so.
  explicit Comparison(const graph::Graph& graph);

  /// Throws Error (Internal) when an output is no longer what it was, but for rounding.
  void check(const graph::Graph& graph) const;

 private:
  bool runs_ = false;
  std::map<std::string, Tensor> inputs_;
  std::vector<Tensor> expected_;
};

}  // namespace ember::passes
