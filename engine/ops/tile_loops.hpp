#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "kernels/elementwise.hpp"
#include "ops/lowering.hpp"

namespace ember::ops {

/// The loops of an element-wise step: the result's axes, merged where all operands allow it, cut into
/// tiles of a fixed size that kernels work on and that threads share.
class TileLoops {
 public:
  static constexpr int kMaxOperands = 8;
  using Offsets = std::array<std::int64_t, kMaxOperands>;

  /// `dims` are the result's extents as it lies in memory; strides[k][axis] is operand k's distance in
  /// elements along an axis, 0 where it is broadcast.
  TileLoops(std::vector<std::int64_t> dims, std::vector<std::vector<std::int64_t>> strides);

  /// One tile: where it starts in the result and in each operand, and its size.
  struct Span {
    std::int64_t out = 0;
    Offsets in{};
    std::int64_t rows = 0;
    std::int64_t width = 0;
  };

  /// Calls body(const Span&) for every tile. `cost` is the work of one element in nanoseconds.
  template <class Body>
  void run(Parallel& parallel, double cost, Body&& body) const {
    const std::int64_t units = outer_ * row_chunks_ * column_chunks_;
    const std::int64_t group = std::max<std::int64_t>(1, kTileElements / (chunk_rows_ * chunk_width_));
    const auto work = static_cast<std::int64_t>(cost * static_cast<double>(elements()));
    parallel.for_each((units + group - 1) / group, work, [&](std::int64_t task, int) {
      const std::int64_t end = std::min(units, (task + 1) * group);
      for (std::int64_t unit = task * group; unit < end; ++unit) body(span_of(unit));
    });
  }

  [[nodiscard]] std::int64_t elements() const noexcept { return outer_ * rows_ * width_; }
  /// Distance of operand k's rows within a tile, and whether its row is a single element.
  [[nodiscard]] std::int64_t row_step(int k) const noexcept {
    return row_steps_[static_cast<std::size_t>(k)];
  }
  [[nodiscard]] bool repeats(int k) const noexcept { return repeats_[static_cast<std::size_t>(k)]; }

 private:
  /// Small enough for the operands of a tile to stay in the first-level cache.
  static constexpr std::int64_t kTileElements = 4096;

  [[nodiscard]] Span span_of(std::int64_t unit) const noexcept;

  std::vector<std::int64_t> outer_dims_;
  std::vector<Offsets> outer_strides_;  ///< by outer axis
  std::int64_t outer_ = 1, rows_ = 1, width_ = 1;
  std::int64_t chunk_rows_ = 1, row_chunks_ = 1, chunk_width_ = 1, column_chunks_ = 1;
  Offsets row_steps_{};
  std::array<bool, kMaxOperands> repeats_{};
};

/// The extents of a float32 (or, when plain, any) tensor as it lies in memory.
std::vector<std::int64_t> memory_dims(const TensorDesc& desc);
/// Distances along memory_dims(result) of an operand that is broadcast to it. In a blocked result the
/// operand is either blocked itself, with the result's rank and channels, or plain with one channel.
std::vector<std::int64_t> memory_strides(const TensorDesc& result, const TensorDesc& operand);

}  // namespace ember::ops
