#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include <ember/tensor.hpp>

namespace ember::ops {

/// Walks the elements of a result in row-major order and says where the matching element of each
/// operand, broadcast to the result's shape, is. An operand may also be a reduction's output: its
/// reduced extents are 1.
class BroadcastWalk {
 public:
  static constexpr int kMaxOperands = 3;

  BroadcastWalk(const Shape& result, std::initializer_list<Shape> operands) : result_(result) {
    for (const Shape& shape : operands) {
      auto& strides = strides_[static_cast<std::size_t>(operands_++)];
      std::int64_t stride = 1;
      for (int axis = shape.rank() - 1; axis >= 0; --axis) {
        const int at = axis + result.rank() - shape.rank();
        strides[static_cast<std::size_t>(at)] = shape[axis] == 1 ? 0 : stride;
        stride *= shape[axis];
      }
    }
  }

  /// Element of operand i that belongs to the current element of the result.
  [[nodiscard]] std::int64_t offset(int i) const noexcept { return offsets_[static_cast<std::size_t>(i)]; }

  void next() noexcept {
    for (int axis = result_.rank() - 1; axis >= 0; --axis) {
      const auto a = static_cast<std::size_t>(axis);
      const bool carries = ++position_[a] == result_[axis];
      const std::int64_t steps = carries ? 1 - result_[axis] : 1;
      for (std::size_t i = 0; i < static_cast<std::size_t>(operands_); ++i)
        offsets_[i] += steps * strides_[i][a];
      if (!carries) return;
      position_[a] = 0;
    }
  }

 private:
  Shape result_;
  int operands_ = 0;
  std::array<std::array<std::int64_t, Shape::kMaxRank>, kMaxOperands> strides_{};
  std::array<std::int64_t, Shape::kMaxRank> position_{};
  std::array<std::int64_t, kMaxOperands> offsets_{};
};

}  // namespace ember::ops
