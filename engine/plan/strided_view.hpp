#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ember/tensor.hpp>

namespace ember::plan {

/// A tensor whose elements are some of a dense tensor's, seen through reshapes, transposes and picks. Every
/// axis is walked by one or more strides, so that a reshape of a transpose is a view too.
class StridedView {
 public:
  /// All elements of a dense tensor.
  explicit StridedView(const Shape& dense);

  // Each returns false, with the view undefined, where the result is not such a view.
  [[nodiscard]] bool reshape(const Shape& to);
  [[nodiscard]] bool transpose(std::span<const int> perm);
  /// One index along an axis, which goes.
  [[nodiscard]] bool pick(int axis, std::int64_t index);

  [[nodiscard]] int rank() const noexcept { return static_cast<int>(axes_.size()); }
  /// Where index 0 of every axis is in the dense tensor.
  [[nodiscard]] std::int64_t start() const noexcept { return start_; }
  /// How far each index along an axis is from index 0, in elements of the dense tensor.
  [[nodiscard]] std::vector<std::int64_t> distances(int axis) const;

 private:
  struct Walk {
    std::int64_t extent = 1;
    std::int64_t stride = 1;
  };
  using Axis = std::vector<Walk>;  ///< slowest first; empty where the extent is 1

  std::vector<Axis> axes_;
  std::int64_t start_ = 0;
};

}  // namespace ember::plan
