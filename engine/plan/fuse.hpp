#pragma once

#include <set>
#include <vector>

#include "ops/lowering.hpp"
#include "plan/specialize.hpp"

namespace ember::plan {

/// Nodes that run as one step: a main node and what its epilogue takes over.
struct Group {
  graph::NodeId main = graph::kNoNode;
  std::vector<graph::NodeId> nodes;  ///< main first, then in data-flow order; the last makes `output`
  ops::Epilogue epilogue;
  graph::ValueId bias = graph::kNoValue;  ///< a constant per column of a product, see LowerContext::bias
  graph::ValueId residual = graph::kNoValue;
  graph::ValueId output = graph::kNoValue;  ///< replaces the main node's output 0
  /// What the epilogue's activations are applied to, where that is watched.
  graph::ValueId watched_before = graph::kNoValue, watched_after = graph::kNoValue;

  [[nodiscard]] bool fused() const noexcept { return nodes.size() > 1; }
};

/// Partitions the graph's nodes into groups, in an order that respects data flow (a group stands where
/// its last node stood). Values in `kept` stay visible: nothing is fused across them. Across those in
/// `watched` activations are, but only by operators that can watch them (ops::gathers()).
std::vector<Group> fuse(const Specialized& specialized, const std::set<graph::ValueId>& kept,
                        const std::set<graph::ValueId>& watched = {});

}  // namespace ember::plan
