#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "audit/producer.hpp"
#include "graph/graph.hpp"
#include "plan/specialize.hpp"

namespace ember::auditing {

/// A network with the shapes that its values have in a run.
struct ShapedNetwork {
  const graph::Graph& graph;
  const std::vector<plan::Fact>& facts;  ///< by ValueId of the graph

  /// nullptr: only a run can tell.
  [[nodiscard]] const Shape* shape(graph::ValueId value) const {
    const auto& shape = facts[static_cast<std::size_t>(value)].shape;
    return shape.has_value() ? &*shape : nullptr;
  }
};

/// The constants of a producer, cut down to some of its channels, to be changed and used in a twin.
class TwinParameters {
 public:
  /// All channels where the operator cannot do with fewer (convolutions of several channels per group); see
  /// channels().
  TwinParameters(const ShapedNetwork& network, const Producer& producer, std::vector<std::int64_t> channels);

  [[nodiscard]] const std::vector<std::int64_t>& channels() const noexcept { return channels_; }
  /// Where a channel is among channels().
  [[nodiscard]] std::size_t position(std::int64_t channel) const;
  /// Replaces a channel's entry of a parameter that has one per channel.
  void set(const Producer::Parameter& parameter, std::int64_t channel, double value);
  /// Replaces the weights that make a channel, in the order of Producer::row().
  void set_row(std::int64_t channel, std::span<const float> row);

 private:
  friend class TwinGraph;
  Tensor& tensor(const Producer::Parameter& parameter);

  const ShapedNetwork& network_;
  const Producer& producer_;
  std::vector<std::int64_t> channels_;
  bool cut_ = true;  ///< fewer channels than the producer has
  std::map<std::pair<graph::NodeId, int>, Tensor> tensors_;
};

/// A network with copies of parts of it beside the originals, so that one run shows what both make of the
/// same inputs. `network` must outlive it.
class TwinGraph {
 public:
  explicit TwinGraph(const ShapedNetwork& network);

  /// A constant added to a value wherever a twin reads it.
  struct Addition {
    graph::ValueId to;
    Tensor constant;
  };
  /// Copies the producer's nodes, with the parameters given, and the nodes `between` the additions and the
  /// producer. Returns the value that stands for the producer's last.
  graph::ValueId add(const Producer& producer, TwinParameters parameters,
                     const std::vector<graph::NodeId>& between = {}, std::vector<Addition> additions = {});

  /// Makes a value an output of the finished graph.
  void keep(graph::ValueId value);
  /// The graph with all that leads to the kept values, and no more.
  [[nodiscard]] graph::Graph finish() &&;
  /// The same with the twins beside the network after further passes, whose constants it shares. nullopt:
  /// what a twin reads is no longer there.
  [[nodiscard]] std::optional<graph::Graph> finish_beside(const graph::Graph& optimised) const;
  [[nodiscard]] const graph::Graph& graph() const noexcept { return graph_; }

 private:
  class Copier;

  const ShapedNetwork& network_;
  graph::Graph graph_;
  std::vector<graph::ValueId> kept_;
  std::vector<graph::NodeId> added_;  ///< nodes of twins, in order
};

}  // namespace ember::auditing
