#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "plan/plan.hpp"

namespace ember::plan {

/// Which values of a network the probes of its plan ask for, and how each is watched.
class Probes {
 public:
  /// `shown`: names of values that have to be shown to their probes as they are. Both must outlive it.
  Probes(const PlanOptions& options, const std::set<std::string>& shown) : options_(options), shown_(shown) {}

  /// Looks them up in the network, after widen_halves(). Throws Error for one that it does not have.
  void find(const graph::Graph& graph);

  /// Values that are shown to their probes.
  [[nodiscard]] const std::set<graph::ValueId>& kept() const { return kept_; }
  /// Values that may disappear into a step that watches them; each has one probe.
  [[nodiscard]] const std::set<graph::ValueId>& watched() const { return watched_; }
  /// Both.
  [[nodiscard]] std::set<graph::ValueId> values() const;

  [[nodiscard]] bool any() const { return !options_.probes.empty(); }
  /// Numbers of the probes of a value.
  [[nodiscard]] const std::vector<int>& of(graph::ValueId v) const;
  /// The probe of a watched value; -1 for kNoValue.
  [[nodiscard]] int watching(graph::ValueId v) const { return v == graph::kNoValue ? -1 : of(v).front(); }
  [[nodiscard]] const ProbeRequest& request(int probe) const {
    return options_.probes[static_cast<std::size_t>(probe)];
  }

 private:
  const PlanOptions& options_;
  const std::set<std::string>& shown_;
  std::map<graph::ValueId, std::vector<int>> probes_;
  std::set<graph::ValueId> kept_, watched_;
};

}  // namespace ember::plan
