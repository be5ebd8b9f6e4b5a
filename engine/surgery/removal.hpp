#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <ember/prune.hpp>

#include "graph/graph.hpp"
#include "surgery/analysis.hpp"
#include "surgery/selection.hpp"

namespace ember::surgery {

/// A graph without the channels that can go, and what became of them.
struct Removal {
  std::shared_ptr<const graph::Graph> graph;
  std::vector<ChannelMap> map;
  std::vector<RemovedChannel> removed;
  std::vector<KeptChannel> kept;
  /// By node whose layer kept channels to be round: the labels of the nodes, and the names of the values,
  /// that have more channels for it.
  std::map<graph::NodeId, std::set<std::string>> rounded;
  std::vector<std::string> notes;
};

/// Takes out of a graph what can go. What turns out not to follow the cut (a
/// shape that is computed otherwise) is refused, and everything found anew. Throws Error.
Removal remove_channels(const graph::Graph& graph, const std::vector<StuckChannel>& findings,
                        const Rounding& rounding = {});

}  // namespace ember::surgery
