#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "graph/graph.hpp"
#include "plan/pack_cache.hpp"
#include "plan/plan.hpp"

namespace ember::runtime {

/// What sessions of one model share: the optimised graph, packed weights, and recent plans. Thread-safe.
/// A session that releases its model's weights shares the packed ones only.
class CompileCache {
 public:
  explicit CompileCache(std::shared_ptr<const graph::Graph> original) : original_(std::move(original)) {}

  /// From now on, constants that are also another model's are packed once for both.
  void share_packs(const CompileCache& other) { packs_ = other.packs_; }

  /// The graph after the portable passes (without the disabled ones).
  std::shared_ptr<const graph::Graph> optimized(const std::set<std::string>& disabled);

  /// A plan for these options, made now, on the threads of `parallel`, or kept from before; the kPlans most
  /// recent are kept.
  std::shared_ptr<const plan::Plan> plan(const std::shared_ptr<const graph::Graph>& graph,
                                         const plan::PlanOptions& options, Parallel& parallel);

  [[nodiscard]] const std::shared_ptr<plan::PackCache>& packs() const noexcept { return packs_; }

 private:
  static constexpr std::size_t kPlans = 8;

  std::shared_ptr<const graph::Graph> original_;
  std::mutex mutex_;
  std::map<std::set<std::string>, std::shared_ptr<const graph::Graph>> optimized_;
  std::shared_ptr<plan::PackCache> packs_ = std::make_shared<plan::PackCache>();
  std::list<std::pair<std::string, std::shared_ptr<const plan::Plan>>> plans_;  ///< most recent first
};

}  // namespace ember::runtime
