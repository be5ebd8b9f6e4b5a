#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ember/audit.hpp>

#include "graph/graph.hpp"
#include "surgery/facts.hpp"
#include "surgery/rule.hpp"

namespace ember::surgery {

/// A channel that an audit found to be constant.
struct StuckChannel {
  graph::ValueId value = graph::kNoValue;
  int axis = 1;
  std::int64_t index = 0;
  double constant = 0;
  Verdict verdict = Verdict::Silent;
};

/// Everything that is known of a graph's channels before any of them is removed.
class Analysis {
 public:
  /// Channels that meet a node of `refused` stay, for the reason given. The graph is borrowed. Throws Error
  /// (InvalidArgument) for a finding that is not in the graph.
  Analysis(const graph::Graph& graph, std::vector<StuckChannel> findings,
           const std::map<graph::NodeId, std::string>& refused = {});

  [[nodiscard]] const Facts& facts() const noexcept { return facts_; }
  [[nodiscard]] const Structure& structure() const noexcept { return structure_; }
  [[nodiscard]] const Constants& constants() const noexcept { return constants_; }
  [[nodiscard]] const std::vector<StuckChannel>& findings() const noexcept { return findings_; }

 private:
  void link(const std::map<graph::NodeId, std::string>& refused);
  void flow();

  Facts facts_;
  Structure structure_;
  Constants constants_;
  std::vector<StuckChannel> findings_;
};

}  // namespace ember::surgery
