#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <ember/tensor.hpp>

#include "ops/op.hpp"

namespace ember::ops {

/// One number per axis: an index, or strides in elements.
using PerAxis = std::array<std::int64_t, Shape::kMaxRank>;

/// Elements between neighbours along each axis of a dense tensor.
PerAxis dense_strides(const Shape& shape);

/// Calls f(position, index) for every element of a dense tensor, in order.
template <class F>
void for_each_index(const Shape& shape, F&& f) {
  PerAxis index{};
  const std::int64_t count = shape.elements();
  for (std::int64_t position = 0; position < count; ++position) {
    f(position, std::as_const(index));
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      const auto at = static_cast<std::size_t>(axis);
      if (++index[at] < shape[axis]) break;
      index[at] = 0;
    }
  }
}

/// Copies all elements; both views hold as many bytes.
void copy_elements(const ConstTensorView& from, const TensorView& to);

/// `index` in [-extent, extent) as one in [0, extent). Fails (InvalidData) outside.
std::int64_t wrapped_index(const NodeContext& node, std::int64_t index, std::int64_t extent);

/// a * b of non-negative numbers. Fails (ResourceLimit) when it does not fit.
std::int64_t checked_product(const NodeContext& node, std::int64_t a, std::int64_t b);

/// Axes of a tensor of that rank as sorted, distinct indices. Fails (InvalidModel) on a repeated one.
std::vector<int> normalize_axes(const NodeContext& node, std::span<const std::int64_t> axes, int rank);

/// The type an attribute such as Cast's `to` means by ONNX's number for it; nullopt for those that ember
/// does not hold (strings, complex, 8- and 4-bit floats, 4-bit integers).
std::optional<DataType> type_from_onnx(std::int64_t number);

/// For operators that compute nothing.
double no_flops(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape> outputs);

}  // namespace ember::ops
