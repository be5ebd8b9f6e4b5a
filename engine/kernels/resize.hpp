#pragma once

#include <cstdint>

namespace ember::kernels {

/// What each output column of a resized row reads: `taps` columns, listed tap by tap (all outputs of the
/// first tap, then of the second, …).
struct ColumnTaps {
  std::int64_t outputs = 0;
  std::int64_t taps = 1;
  const std::int32_t* index = nullptr;
  const float* weight = nullptr;
};

/// Rows of a resized tensor. A row is `width` columns of `inner` floats each: 1 in plain layouts with the
/// resized axis last, the channel block in blocked ones.
struct ResizeKernels {
  /// to[i] = Σ weights[t] · rows[t][i] for i below n
  void (*blend_rows)(const float* const* rows, const float* weights, std::int64_t taps, float* to,
                     std::int64_t n);
  /// to[o] = Σ weight · from[index], column by column
  void (*blend_columns)(const float* from, const ColumnTaps& taps, std::int64_t inner, float* to);
  /// to[o] = from[index of the only tap]
  void (*pick_columns)(const float* from, const ColumnTaps& taps, std::int64_t inner, float* to);
};

}  // namespace ember::kernels
