#include "runtime/compile_cache.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "passes/pass.hpp"

namespace ember::runtime {

namespace {

std::string key_of(const graph::Graph* graph, const plan::PlanOptions& options) {
  std::string key = fmt::format("{} {} {}", static_cast<const void*>(graph), simd::to_string(options.isa),
                                options.micro_batch);
  for (const auto& [name, shape] : options.input_shapes) key += fmt::format(" {}{}", name, to_string(shape));
  for (const plan::ProbeRequest& probe : options.probes) {
    key += fmt::format(" ?{}{}", probe.value, probe.plain ? "p" : "");
    if (!probe.watch) continue;
    const kernels::FiringRule& rule = probe.watch->firing;
    key += fmt::format("w{} {} {} {} {}", probe.watch->counts_only ? "c" : "", rule.fired_above,
                       rule.fired_below, rule.saturated_up_to, rule.saturated_from);
  }
  for (const std::string& op : options.reference_only) key += " !" + op;
  return key;
}

}  // namespace

std::shared_ptr<const graph::Graph> CompileCache::optimized(const std::set<std::string>& disabled) {
  const std::scoped_lock lock(mutex_);
  auto& entry = optimized_[disabled];
  if (entry == nullptr) {
    auto graph = std::make_shared<graph::Graph>(*original_);
    passes::run_portable_passes(*graph, disabled);
    entry = std::move(graph);
  }
  return entry;
}

std::shared_ptr<const plan::Plan> CompileCache::plan(const std::shared_ptr<const graph::Graph>& graph,
                                                     const plan::PlanOptions& options, Parallel& parallel) {
  const std::string key = key_of(graph.get(), options);
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(plans_, key, [](const auto& entry) { return entry.first; });
  if (found != plans_.end()) {
    plans_.splice(plans_.begin(), plans_, found);
    return plans_.front().second;
  }
  plan::Packing packing(*packs_);
  std::shared_ptr<const plan::Plan> made = plan::compile(*graph, options, packing);
  packing.run(parallel);
  plans_.emplace_front(key, std::move(made));
  if (plans_.size() > kPlans) plans_.pop_back();
  return plans_.front().second;
}

}  // namespace ember::runtime
