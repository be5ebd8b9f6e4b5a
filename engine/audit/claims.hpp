#pragma once

#include <cstdint>
#include <vector>

#include <ember/audit.hpp>

#include "audit/bounds.hpp"
#include "audit/firing.hpp"
#include "graph/graph.hpp"

namespace ember::auditing {

/// A channel of which something may be proved: what was seen of it on the data, and where its elements are.
struct Claim {
  enum class Kind : std::uint8_t {
    Dead,      ///< no position ever exceeds `threshold`
    AlwaysOn,  ///< every position stays on the linear side of it
    Fires,     ///< it fired on the data: to be dead in the domain would contradict that
  };
  Kind kind = Kind::Dead;
  ChannelReport* channel = nullptr;
  const LayerReport* layer = nullptr;
  int variable = -1;                    ///< the value before the activation
  std::vector<std::int32_t> positions;  ///< its elements
  Firing firing;
  bool broken = false;  ///< an input of the domain is known for which it does not hold
  [[nodiscard]] double threshold() const { return double{firing.rule.fired_above}; }
  [[nodiscard]] bool open() const { return kind != Kind::Fires && channel->proof == Proof::None && !broken; }
  /// The claim holds when sign · x <= limit for every element x of the channel and each of these.
  struct Side {
    double sign, limit;
  };
  [[nodiscard]] std::vector<Side> sides() const;

  /// Whether bounds of that variable settle the claim.
  [[nodiscard]] bool holds(const Bounds& bounds) const;
  /// Notes the bounds in the channel's report.
  void note(const Bounds& bounds) const;
};

/// Elements of channel `c` of a value whose channels are on `axis`.
std::vector<std::int32_t> channel_positions(const Shape& shape, int axis, std::int64_t c);

/// Claims about the silent, always-on and firing channels of a report, in the order of the network. `graph`
/// is the network after its passes.
std::vector<Claim> claims_of(AuditReport& report, const graph::Graph& graph, const Formulas& formulas);

}  // namespace ember::auditing
