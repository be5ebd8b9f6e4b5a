#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ember/samples.hpp>

#include "graph/graph.hpp"

namespace ember::surgery {

/// What one channel of a value does over a data set.
struct UnitResponse {
  std::vector<float> highest;  ///< of each sample, over its positions
  double mean = 0;             ///< over all positions
  double variance = 0;         ///< biased, as BatchNormalization has it
};

struct ResponseOptions {
  std::int64_t samples = 0;  ///< 0 = all
  std::int64_t batch = 0;
  int threads = 1;
};

/// Runs the samples through the part of a graph that leads to `value` and watches these channels of it, on
/// axis 1 or (`axis` −1) the last. Throws Error.
std::vector<UnitResponse> measure_responses(graph::Graph graph, graph::ValueId value, int axis,
                                            const std::vector<std::int64_t>& channels, Samples& samples,
                                            const ResponseOptions& options);

/// A threshold that `share` of the samples exceed, halfway between two of them, and at least one does; of
/// several samples with the same value all or none exceed it.
struct Threshold {
  double value = 0;
  double share = 0;  ///< that exceed it
};
Threshold threshold_for(std::vector<float> highest, double share);

}  // namespace ember::surgery
