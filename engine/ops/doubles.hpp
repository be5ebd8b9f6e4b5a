#pragma once

#include <span>
#include <vector>

#include "ops/typed.hpp"

namespace ember::ops {

/// The elements of a floating-point view in double.
inline std::vector<double> to_doubles(const NodeContext& node, const ConstTensorView& view) {
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(view.elements()));
  dispatch_floating(node, view.type(), [&](auto zero) {
    for (const auto x : view.data<decltype(zero)>()) values.push_back(static_cast<double>(widen(x)));
  });
  return values;
}

/// The other way, rounding to the view's type.
inline void from_doubles(const NodeContext& node, std::span<const double> values, const TensorView& view) {
  dispatch_floating(node, view.type(), [&](auto zero) {
    using T = decltype(zero);
    const auto to = view.data<T>();
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = narrow<T>(values[i]);
  });
}

}  // namespace ember::ops
