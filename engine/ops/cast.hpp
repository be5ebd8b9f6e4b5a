#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "ops/typed.hpp"

namespace ember::ops {

/// One element from type `From` to type `To` as Cast means it: fractions are dropped, integers wrap
/// around, anything but 0 is true. What ONNX leaves open is settled: a float beyond an integer type gives
/// its nearest bound, NaN gives 0.
template <class To, class From>
[[nodiscard]] To cast_element(From from) {
  const auto value = widen(from);
  if constexpr (std::is_same_v<To, bool>) {
    return value != 0;
  } else if constexpr (std::is_floating_point_v<Wide<To>>) {
    return narrow<To>(static_cast<double>(value));
  } else if constexpr (std::is_floating_point_v<Wide<From>>) {
    constexpr double kLow = static_cast<double>(std::numeric_limits<To>::min());
    // One beyond the largest: a power of two, so exact.
    constexpr To kHalf = std::numeric_limits<To>::max() / 2 + 1;
    constexpr double kHigh = static_cast<double>(kHalf) * 2.0;
    if (std::isnan(value)) return 0;
    if (value <= kLow) return std::numeric_limits<To>::min();
    if (value >= kHigh) return std::numeric_limits<To>::max();
    return static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

/// Casts `count` elements between two arrays of fixed types.
using CastFunction = void (*)(const void* from, void* to, std::int64_t count);
CastFunction cast_function(const NodeContext& node, DataType from, DataType to);

}  // namespace ember::ops
