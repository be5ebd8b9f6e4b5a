#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ember/prune.hpp>

#include "graph/graph.hpp"
#include "surgery/analysis.hpp"

namespace ember::surgery {

/// A graph without the channels that can go, and what became of them.
struct Removal {
  std::shared_ptr<const graph::Graph> graph;
  std::vector<ChannelMap> map;
  std::vector<RemovedChannel> removed;
  std::vector<KeptChannel> kept;
};

/// Takes out of a graph what can go, rounding layers to a multiple. What turns out not to follow the cut (a
/// shape that is computed otherwise) is refused, and everything found anew. Throws Error.
Removal remove_channels(const graph::Graph& graph, const std::vector<StuckChannel>& findings,
                        std::int64_t multiple);

}  // namespace ember::surgery
