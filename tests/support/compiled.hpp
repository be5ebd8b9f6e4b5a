#pragma once

#include <memory>

#include "core/parallel.hpp"
#include "graph/graph.hpp"
#include "plan/pack_cache.hpp"
#include "plan/plan.hpp"

namespace ember::test {

/// A plan with its weights packed, ready to run.
inline std::shared_ptr<const plan::Plan> compiled(const graph::Graph& graph,
                                                  const plan::PlanOptions& options) {
  plan::PackCache cache;
  plan::Packing packing(cache);
  std::shared_ptr<const plan::Plan> plan = plan::compile(graph, options, packing);
  SerialParallel serial;
  packing.run(serial);
  return plan;
}

}  // namespace ember::test
