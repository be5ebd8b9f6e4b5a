#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "graph/graph.hpp"
#include "ops/interpreter.hpp"
#include "passes/pass.hpp"
#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"

namespace ember::test {

/// Runs one portable pass by name and verifies the graph. Returns how many places changed.
inline int run_pass(std::string_view name, graph::Graph& graph) {
  for (const passes::Pass& pass : passes::portable_passes()) {
    if (pass.name != name) continue;
    const int changed = pass.run(graph);
    graph::verify(graph);
    return changed;
  }
  FAIL("no pass " << std::string(name));
  return 0;
}

inline std::map<std::string, Tensor> random_inputs(const graph::Graph& graph) {
  std::map<std::string, Tensor> inputs;
  for (const graph::ValueId id : graph.inputs) {
    std::vector<std::int64_t> extents;
    for (const graph::Dim& dim : *graph.value(id).dims) extents.push_back(dim.size < 0 ? 1 : dim.size);
    inputs.emplace(graph.value(id).name, random_tensor(Shape(extents), inputs.size() + 1));
  }
  return inputs;
}

/// Runs a pass that must change `expected` places and keep the float32 outputs and their names.
inline void check_pass(std::string_view name, graph::Graph& graph, int expected) {
  const auto inputs = random_inputs(graph);
  const std::vector<Tensor> before = ops::interpret(graph, inputs);
  std::vector<std::string> names;
  for (const graph::ValueId id : graph.outputs) names.push_back(graph.value(id).name);

  CHECK(run_pass(name, graph) == expected);

  const std::vector<Tensor> after = ops::interpret(graph, inputs);
  REQUIRE(after.size() == before.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    CHECK(mismatch(after[i].view(), before[i].view(), 1e-5, 1e-5) <= 1.0);
    CHECK(graph.value(graph.outputs[i]).name == names[i]);
  }
}

inline int count_op(const graph::Graph& graph, std::string_view op) {
  int count = 0;
  for (const graph::NodeId id : graph.order()) count += graph.node(id).op == op ? 1 : 0;
  return count;
}

}  // namespace ember::test
