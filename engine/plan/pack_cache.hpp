#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ember/tensor.hpp>

#include "core/parallel.hpp"
#include "ops/lowering.hpp"

namespace ember::plan {

/// Packed weights that are to be filled. Thread-safe.
class PackJob {
 public:
  PackJob(std::shared_ptr<const Tensor> source, std::weak_ptr<float[]> packed, ops::PackFill fill)
      : source_(std::move(source)), packed_(std::move(packed)), fill_(std::move(fill)) {}

  /// Returns when they are filled, by this call or by another thread's, and lets go of the source. Does
  /// nothing when nobody uses them any more.
  void run();
  [[nodiscard]] bool wanted() const { return !packed_.expired(); }
  [[nodiscard]] std::int64_t source_bytes() const noexcept { return bytes_; }

 private:
  std::once_flag once_;
  std::shared_ptr<const Tensor> source_;
  std::int64_t bytes_ = static_cast<std::int64_t>(source_->bytes());
  std::weak_ptr<float[]> packed_;
  ops::PackFill fill_;
};

/// Weights packed for kernels, once per model whatever number of plans and sessions use them.
/// Thread-safe.
class PackCache {
 public:
  struct Found {
    ops::PackedWeights weights;
    std::shared_ptr<PackJob> job;  ///< to run before they are read; null when that has been done
  };
  /// Lives as long as somebody uses it; a source that died and an unrelated one at its address differ.
  Found get(const std::shared_ptr<const Tensor>& source, std::string_view key, std::size_t count,
            ops::PackFill fill);

 private:
  struct Entry {
    std::weak_ptr<const Tensor> source;
    std::weak_ptr<const float[]> packed;
    std::weak_ptr<PackJob> job;
  };
  std::mutex mutex_;
  std::map<std::pair<const Tensor*, std::string>, Entry> entries_;
};

/// The packed weights of plans that are being compiled. They are only decided upon at first, so that a
/// candidate that refuses in the end costs nothing, and filled when everybody who needs the weights in
/// another form is known: then their source can go as soon as it is packed.
class Packing {
 public:
  explicit Packing(PackCache& cache) : cache_(cache) {}

  /// Weights that may be read after the next run().
  ops::PackedWeights get(const std::shared_ptr<const Tensor>& source, std::string_view key, std::size_t count,
                         ops::PackFill fill);
  /// Fills all of them, those of the largest sources first.
  void run(Parallel& parallel);

 private:
  PackCache& cache_;
  std::vector<std::shared_ptr<PackJob>> jobs_;
};

}  // namespace ember::plan
