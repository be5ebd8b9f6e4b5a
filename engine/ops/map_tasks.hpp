#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/product_lowering.hpp"

namespace ember::ops {

/// Whether threads share a step on feature maps by positions rather than by channels. Steps that follow each
/// other should agree: then a worker finds in its own cache what it wrote a step before, and fetches from
/// another's only the rows where their parts meet. But the filters between two maps are read by every worker
/// that shares positions, and are larger than the maps where channels outnumber positions.
[[nodiscard]] constexpr bool shares_positions(std::int64_t channels, std::int64_t positions) {
  return channels <= positions;
}

/// Parts of about `wanted`: one, or an even number for two threads to share.
[[nodiscard]] inline Chunks even_parts(std::int64_t count, std::int64_t wanted) {
  const std::int64_t parts = ceil_div(count, std::max<std::int64_t>(1, wanted));
  return parts <= 1 ? Chunks(count, count) : Chunks(count, ceil_div(count, ceil_div(parts, 2) * 2));
}

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
        parts_(by_position ? even_parts(units, halved(units, planes, wanted)) : Chunks(units, wanted)) {}

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
  /// Of every plane.
  [[nodiscard]] std::int64_t parts() const { return parts_.parts(); }

 private:
  static std::int64_t halved(std::int64_t units, std::int64_t planes, std::int64_t wanted) {
    return 4 * units * planes > wanted ? std::min(wanted, ceil_div(units, 2)) : wanted;
  }

  std::int64_t samples_ = 1, planes_ = 1;
  bool by_position_ = false;
  Chunks parts_;
};

}  // namespace ember::ops
