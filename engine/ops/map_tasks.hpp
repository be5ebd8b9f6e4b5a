#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/product_lowering.hpp"

namespace ember::ops {

/// Whether threads share a step on feature maps by positions rather than by channels. Steps that follow each
/// other should agree: then a worker finds in its own cache what it wrote a step before, and by positions
/// fetches from another's only the rows where their parts meet. But the filters between two maps are then
/// read by every worker, and are larger than the maps where channels outnumber positions.
[[nodiscard]] constexpr bool shares_positions(std::int64_t channels, std::int64_t positions) {
  return channels <= positions;
}

/// [0, count) in parts whose lengths differ by at most one.
class EqualParts {
 public:
  EqualParts() = default;
  /// Parts of about `wanted`: one, or an even number for two threads to share.
  EqualParts(std::int64_t count, std::int64_t wanted) : count_(count) {
    const std::int64_t parts = ceil_div(count, std::max<std::int64_t>(1, wanted));
    parts_ = parts <= 1 ? 1 : ceil_div(parts, 2) * 2;
    if (parts_ > count) parts_ = std::max<std::int64_t>(1, count / 2 * 2);
  }
  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] std::int64_t parts() const { return parts_; }
  [[nodiscard]] std::int64_t begin(std::int64_t part) const { return count_ * part / parts_; }
  [[nodiscard]] std::int64_t end(std::int64_t part) const { return begin(part + 1); }
  /// The longest.
  [[nodiscard]] std::int64_t length() const { return ceil_div(count_, parts_); }

 private:
  std::int64_t count_ = 0, parts_ = 1;
};

/// The tasks of a step on [samples][planes][units], a plane being a block of channels, or a channel, and a
/// unit a position or a row of them: parts of one plane each.
class MapTasks {
 public:
  MapTasks() = default;
  /// Parts of about `wanted` units. Where they are shared by positions, a part of all planes of a sample
  /// comes before the next part, and there are two unless that is hardly worth handing over.
  MapTasks(std::int64_t samples, std::int64_t planes, std::int64_t units, std::int64_t wanted,
           bool by_position)
      : samples_(samples),
        planes_(planes),
        by_position_(by_position),
        parts_(units, by_position ? halved(units, planes, wanted) : wanted) {}

  struct Task {
    std::int64_t plane = 0;  ///< of all samples
    std::int64_t part = 0;
    std::int64_t begin = 0, end = 0;  ///< units
  };
  [[nodiscard]] std::int64_t count() const { return samples_ * planes_ * parts(); }
  [[nodiscard]] Task at(std::int64_t index) const {
    const std::int64_t per_sample = planes_ * parts();
    const std::int64_t within = index % per_sample;
    const std::int64_t plane = by_position_ ? within % planes_ : within / parts();
    const std::int64_t part = by_position_ ? within / planes_ : within % parts();
    return {index / per_sample * planes_ + plane, part, parts_.begin(part), parts_.end(part)};
  }
  /// Whole planes, for a thread that shares with none.
  [[nodiscard]] MapTasks whole() const { return {samples_, planes_, parts_.count(), parts_.count(), false}; }
  /// Of every plane.
  [[nodiscard]] std::int64_t parts() const { return parts_.parts(); }

 private:
  static std::int64_t halved(std::int64_t units, std::int64_t planes, std::int64_t wanted) {
    return 4 * units * planes > wanted ? std::min(wanted, ceil_div(units, 2)) : wanted;
  }

  std::int64_t samples_ = 1, planes_ = 1;
  bool by_position_ = false;
  EqualParts parts_;
};

}  // namespace ember::ops
