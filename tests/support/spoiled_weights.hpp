#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include <ember/session.hpp>

#include "core/aligned_memory.hpp"
#include "graph/graph.hpp"

namespace ember::test {

/// Makes networks whose constants are overwritten when they are freed, in memory that stays: whoever still
/// reads them computes nonsense.
class SpoiledWeights {
 public:
  Model model_of(const graph::Graph& graph) {
    return Model(std::make_shared<const graph::Graph>(guarded(graph)));
  }
  /// Bytes of constants in all, and of those that were freed.
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t freed() const { return *freed_; }

 private:
  graph::Graph guarded(graph::Graph graph) {
    for (std::size_t at = 0; at < graph.value_count(); ++at) {
      auto& constant = graph.value(static_cast<graph::ValueId>(at)).constant;
      if (constant != nullptr) constant = std::make_shared<const Tensor>(guarded(*constant));
    }
    for (const graph::NodeId id : graph.order()) {
      for (auto& [name, attribute] : graph.node(id).attributes) {
        auto* sub = std::get_if<std::shared_ptr<const graph::Graph>>(&attribute);
        if (sub != nullptr) *sub = std::make_shared<const graph::Graph>(guarded(**sub));
      }
    }
    return graph;
  }

  Tensor guarded(const Tensor& tensor) {
    const std::size_t bytes = tensor.bytes();
    const std::shared_ptr<void> memory = allocate_aligned(bytes);
    if (bytes != 0) std::memcpy(memory.get(), tensor.raw(), bytes);
    bytes_ += bytes;
    memory_.push_back(memory);
    const std::shared_ptr<void> owner(memory.get(), [bytes, freed = freed_](void* content) {
      std::memset(content, 0xFF, bytes);  // NaN as floats
      *freed += bytes;
    });
    return Tensor::adopt(tensor.type(), tensor.shape(), owner, memory.get());
  }

  std::vector<std::shared_ptr<void>> memory_;
  std::size_t bytes_ = 0;
  std::shared_ptr<std::atomic<std::size_t>> freed_ = std::make_shared<std::atomic<std::size_t>>(0);
};

/// Whether two runs gave the same outputs to the bit.
inline bool same_bits(const TensorMap& a, const TensorMap& b) {
  const auto same = [](const auto& one, const auto& other) {
    return one.first == other.first && one.second.type() == other.second.type() &&
           one.second.shape() == other.second.shape() &&
           (one.second.bytes() == 0 ||
            std::memcmp(one.second.raw(), other.second.raw(), one.second.bytes()) == 0);
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

}  // namespace ember::test
