#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "plan/plan.hpp"
#include "plan/specialize.hpp"

namespace ember::plan {

/// How a batch goes through a network.
struct Batching {
  std::int64_t parts = 1;                     ///< micro-batches that run after each other, or side by side
  std::map<std::string, Shape> input_shapes;  ///< of one of them
  std::string reason;                         ///< for people
};

/// Decides it for a batch of several samples (axis 0 of the first input): in parts when the samples are
/// independent and either options.micro_batch asks for it or the model of what moves through the caches
/// says that it is faster.
Batching choose_batching(const graph::Graph& graph, const Specialized& whole, const PlanOptions& options);

}  // namespace ember::plan
