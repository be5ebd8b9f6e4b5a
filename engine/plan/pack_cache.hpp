#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <ember/tensor.hpp>

#include "ops/lowering.hpp"

namespace ember::plan {

/// Weights packed for kernels, once per model whatever number of plans and sessions use them.
/// Thread-safe.
class PackCache {
 public:
  /// Lives as long as somebody uses it; a source that died and an unrelated one at its address differ.
  ops::PackedWeights get(const std::shared_ptr<const Tensor>& source, std::string_view key, std::size_t count,
                         const std::function<void(float*)>& fill);

 private:
  struct Entry {
    std::weak_ptr<const Tensor> source;
    std::weak_ptr<const float[]> packed;
  };
  std::mutex mutex_;
  std::map<std::pair<const Tensor*, std::string>, Entry> entries_;
};

}  // namespace ember::plan
