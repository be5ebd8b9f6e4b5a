#include "plan/pack_cache.hpp"

#include "core/aligned_memory.hpp"

namespace ember::plan {

ops::PackedWeights PackCache::get(const std::shared_ptr<const Tensor>& source, std::string_view key,
                                  std::size_t count, const std::function<void(float*)>& fill) {
  const std::scoped_lock lock(mutex_);
  Entry& entry = entries_[{source.get(), std::string(key)}];
  if (ops::PackedWeights packed = entry.packed.lock(); packed != nullptr && entry.source.lock() == source)
    return packed;
  const std::shared_ptr<void> memory = allocate_zeroed(count * sizeof(float));
  auto* floats = static_cast<float*>(memory.get());
  fill(floats);
  ops::PackedWeights packed(memory, floats);
  entry = {source, packed};
  return packed;
}

}  // namespace ember::plan
