#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>

#include "graph/graph.hpp"

namespace ember::passes {

/// A rewrite of a graph that keeps its meaning. The result is still ONNX. Surviving values keep their
/// names; when a node absorbs the next one, its result takes over the later value (and name).
struct Pass {
  std::string_view name;
  /// Returns how many places changed.
  int (*run)(graph::Graph& graph);
};

/// The portable passes in the order they run.
std::span<const Pass> portable_passes();

/// Runs the portable passes until none changes anything, verifying the graph after each. With
/// EMBER_VERIFY=1 in the environment outputs are compared before and after each pass on random input,
/// and a pass that changes them throws Error (Internal) with its name.
void run_portable_passes(graph::Graph& graph, const std::set<std::string>& disabled = {});

}  // namespace ember::passes
