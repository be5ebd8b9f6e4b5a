#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include <ember/audit.hpp>

#include "audit/producer.hpp"
#include "audit/twin_graph.hpp"

namespace ember::auditing {

/// An activation that a producer reads, with those of its channels that never fire.
struct Upstream {
  std::size_t layer = 0;  ///< of the report
  graph::ValueId output = graph::kNoValue;
  std::vector<std::int64_t> dead;  ///< ascending
  bool wholly_dead = false;
  double mean = 0;  ///< output of its channels that fire; of a wholly dead layer, what it might be
};

/// What lies between a producer and the activations before it.
struct Upstreams {
  std::vector<Upstream> layers;        ///< those with dead channels only
  std::vector<graph::NodeId> between;  ///< nodes on the way
  bool all_dead = false;               ///< nothing is read but wholly dead layers
};

/// `activations`: outputs of activations, with their layers of the report. nullopt: too much lies between, or
/// what cannot be copied.
std::optional<Upstreams> find_upstreams(const graph::Graph& graph, const Producer& producer,
                                        const std::map<graph::ValueId, std::size_t>& activations,
                                        const AuditReport& report);

/// What makes the dead channels put out their mates' mean; empty when a shape is unknown.
std::vector<TwinGraph::Addition> raised(const Upstreams& upstreams, const ShapedNetwork& network,
                                        const AuditReport& report);

/// The dead channels that would push `channel` up if they lived.
std::vector<StarvedBy> starving(const Upstreams& upstreams, const ShapedNetwork& network,
                                const Producer& producer, const AuditReport& report, std::int64_t channel);

/// Silent, proved dead, or refuted: it fired for no sample.
bool never_fired(const ChannelReport& channel);

}  // namespace ember::auditing
