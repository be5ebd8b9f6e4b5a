#include "plan/probes.hpp"

#include <cstddef>

#include <ember/error.hpp>

#include "plan/widen_halves.hpp"

namespace ember::plan {

using graph::ValueId;

void Probes::find(const graph::Graph& graph) {
  for (std::size_t i = 0; i < options_.probes.size(); ++i) {
    ValueId v = graph.find_value(options_.probes[i].value);
    if (!graph.is_available(v)) v = graph.find_value(widened_name(options_.probes[i].value));
    if (!graph.is_available(v)) {
      throw Error(ErrorCode::InvalidArgument, "no such value to watch in the compiled network",
                  {.model = graph.metadata.model_name, .tensor = options_.probes[i].value});
    }
    probes_[v].push_back(static_cast<int>(i));
  }
  for (const auto& [v, numbers] : probes_) {
    const bool passing = numbers.size() == 1 && request(numbers.front()).watch.has_value() &&
                         !shown_.contains(graph.value(v).name);
    (passing ? watched_ : kept_).insert(v);
  }
}

std::set<ValueId> Probes::values() const {
  std::set<ValueId> all = kept_;
  all.insert(watched_.begin(), watched_.end());
  return all;
}

const std::vector<int>& Probes::of(ValueId v) const {
  static const std::vector<int> kNone;
  const auto found = probes_.find(v);
  return found == probes_.end() ? kNone : found->second;
}

}  // namespace ember::plan
