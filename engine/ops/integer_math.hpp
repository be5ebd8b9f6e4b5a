#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace ember::ops {

// Integer arithmetic that is defined for all operands: it wraps, as hardware and NumPy do.

template <class T>
[[nodiscard]] constexpr T wrapping_add(T a, T b) {
  return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}
template <class T>
[[nodiscard]] constexpr T wrapping_sub(T a, T b) {
  return static_cast<T>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}
template <class T>
[[nodiscard]] constexpr T wrapping_mul(T a, T b) {
  return static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}
/// Truncates toward zero; b must not be 0.
template <class T>
[[nodiscard]] constexpr T wrapping_div(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    if (b == T{-1}) return wrapping_sub(T{0}, a);
  }
  return static_cast<T>(a / b);
}
/// The remainder with the sign of the dividend; b must not be 0.
template <class T>
[[nodiscard]] constexpr T remainder_truncated(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    if (b == T{-1}) return T{0};
  }
  return static_cast<T>(a % b);
}
/// The remainder with the sign of the divisor; b must not be 0.
template <class T>
[[nodiscard]] constexpr T remainder_floored(T a, T b) {
  const T rest = remainder_truncated(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
}

/// The nearest value of T toward zero; out of range it is the nearest end, NaN is 0.
template <class T>
[[nodiscard]] T saturate_from(double value) {
  if (std::isnan(value)) return T{0};
  // The ends as doubles: max() may round up to a power of two that T cannot hold, hence >=.
  if (value >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  if (value <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  return static_cast<T>(value);
}

}  // namespace ember::ops
