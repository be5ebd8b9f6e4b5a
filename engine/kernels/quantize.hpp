#pragma once

#include <cstdint>

namespace ember::kernels {

/// Scale and zero point of a run of elements: one for all, or (stride 1) one for each.
struct QuantizationRun {
  const float* scale = nullptr;
  const float* zero_point = nullptr;  ///< whole numbers
  std::int64_t stride = 0;
};

/// Linear quantisation of n contiguous elements, bit for bit as the specification has it.
struct QuantizeKernels {
  /// y = saturate(round_half_even(x / scale) + zero point); NaN gives the lowest value
  void (*to_int8)(const float* x, const QuantizationRun& run, std::int8_t* y, std::int64_t n);
  void (*to_uint8)(const float* x, const QuantizationRun& run, std::uint8_t* y, std::int64_t n);
  /// y = (x - zero point) scale
  void (*from_int8)(const std::int8_t* x, const QuantizationRun& run, float* y, std::int64_t n);
  void (*from_uint8)(const std::uint8_t* x, const QuantizationRun& run, float* y, std::int64_t n);
};

}  // namespace ember::kernels
