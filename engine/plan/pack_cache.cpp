#include "plan/pack_cache.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <span>

#include "core/aligned_memory.hpp"
#include "core/subnormals.hpp"

namespace ember::plan {

void PackJob::run() {
  std::call_once(once_, [&] {
    const FlushSubnormals flush;  // as on the threads of a crew
    if (const std::shared_ptr<float[]> to = packed_.lock(); to != nullptr) fill_(*source_, to.get());
    fill_ = nullptr;
    source_.reset();
  });
}

PackCache::Found PackCache::get(const std::shared_ptr<const Tensor>& source, std::string_view key,
                                std::size_t count, ops::PackFill fill) {
  const std::scoped_lock lock(mutex_);
  Entry& entry = entries_[{source.get(), std::string(key)}];
  if (ops::PackedWeights packed = entry.packed.lock(); packed != nullptr && entry.source.lock() == source)
    return {std::move(packed), entry.job.lock()};
  const std::shared_ptr<void> memory = allocate_zeroed(count * sizeof(float));
  const std::shared_ptr<float[]> packed(memory, static_cast<float*>(memory.get()));
  auto job = std::make_shared<PackJob>(source, packed, std::move(fill));
  entry = {source, packed, job};
  return {packed, std::move(job)};
}

ops::PackedWeights Packing::get(const std::shared_ptr<const Tensor>& source, std::string_view key,
                                std::size_t count, ops::PackFill fill) {
  PackCache::Found found = cache_.get(source, key, count, std::move(fill));
  if (found.job != nullptr) jobs_.push_back(std::move(found.job));
  return std::move(found.weights);
}

void Packing::run(Parallel& parallel) {
  std::erase_if(jobs_, [](const auto& job) { return !job->wanted(); });
  std::ranges::stable_sort(jobs_, std::ranges::greater{},
                           [](const auto& job) { return job->source_bytes(); });
  std::int64_t bytes = 0;
  for (const auto& job : jobs_) bytes += job->source_bytes();
  std::span<const std::shared_ptr<PackJob>> rest = jobs_;
  // While a source that outweighs all others is packed, none of their memory shall be touched.
  for (; !rest.empty() && 2 * rest.front()->source_bytes() > bytes; rest = rest.subspan(1)) {
    rest.front()->run();
    bytes -= rest.front()->source_bytes();
  }
  parallel.for_each(std::ssize(rest), bytes,
                    [&](std::int64_t at, int /*worker*/) { rest[static_cast<std::size_t>(at)]->run(); });
  jobs_.clear();
}

}  // namespace ember::plan
