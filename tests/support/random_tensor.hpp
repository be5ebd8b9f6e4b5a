#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>

#include <ember/tensor.hpp>

namespace ember::test {

/// Float32 values uniform in [low, high), the same on every machine for a seed.
inline Tensor random_tensor(const Shape& shape, std::uint64_t seed, float low = -1.0F, float high = 1.0F) {
  std::mt19937_64 generator(seed);
  Tensor tensor(DataType::Float32, shape);
  for (float& value : tensor.data<float>()) {
    const double unit = static_cast<double>(generator() >> 11) * 0x1p-53;
    value = static_cast<float>(low + unit * (high - low));
  }
  return tensor;
}

/// Largest |a-b| / (absolute + relative |b|) over all elements: at most 1 means "equal within tolerance".
/// NaN matches NaN, infinities match themselves; anything else non-finite gives infinity.
inline double mismatch(const ConstTensorView& a, const ConstTensorView& b, double absolute, double relative) {
  const auto x = a.data<float>();
  const auto y = b.data<float>();
  double worst = a.shape() == b.shape() ? 0.0 : INFINITY;
  for (std::size_t i = 0; i < x.size() && i < y.size(); ++i) {
    if (x[i] == y[i] || (std::isnan(x[i]) && std::isnan(y[i]))) continue;
    const double error = std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
    const double scaled = error / (absolute + relative * std::abs(static_cast<double>(y[i])));
    worst = std::isnan(scaled) ? INFINITY : std::max(worst, scaled);
  }
  return worst;
}

}  // namespace ember::test
