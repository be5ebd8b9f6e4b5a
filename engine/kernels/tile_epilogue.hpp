#pragma once

// What follows a tile of sums (see ProductEpilogue). Included only by *.isa.cpp files.

#include "kernels/activation_math.hpp"
#include "kernels/product.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// An epilogue made ready outside of the loops.
struct TileEpilogue {
  /// None, Relu and Clip as one pair of bounds: a clamp to ±inf changes nothing, not even a NaN.
  struct Bounds {
    Vec low, high;
  };

  EMBER_INLINE TileEpilogue(const Activation& first, const Activation& last)
      : before(&first),
        after(&last),
        in_registers(runs_in_registers(first.kind) && runs_in_registers(last.kind)),
        bounds_before(bounds_of(first)),
        bounds_after(bounds_of(last)) {}

  /// On sums in a register; `residual` may be null. Only when in_registers.
  EMBER_INLINE Vec apply(Vec sum, const float* residual) const {
    sum = clamp(sum, bounds_before.low, bounds_before.high);
    if (residual != nullptr) sum = sum + load(residual);
    return clamp(sum, bounds_after.low, bounds_after.high);
  }

  /// The same on a tile of sums, what there is to do decided once; residual_at(row, vector) where there is
  /// a residual.
  template <int kRows, int kVectors, class Residual>
  EMBER_INLINE void apply_tile(Vec (&sums)[kRows][kVectors], bool residual, Residual&& residual_at) const {
    clamp_tile(sums, *before, bounds_before);
    if (residual) {
#pragma GCC unroll 32
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sums[r][v] = sums[r][v] + load(residual_at(r, v));
      }
    }
    clamp_tile(sums, *after, bounds_after);
  }

  template <int kRows, int kVectors>
  static EMBER_INLINE void clamp_tile(Vec (&sums)[kRows][kVectors], const Activation& activation,
                                      const Bounds& bounds) {
    if (activation.kind == ActivationKind::None) return;
#pragma GCC unroll 32
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sums[r][v] = clamp(sums[r][v], bounds.low, bounds.high);
    }
  }

  static EMBER_INLINE Bounds bounds_of(const Activation& a) {
    constexpr float kInfinity = __builtin_inff();
    switch (a.kind) {
      case ActivationKind::Relu: return {broadcast(0.0F), broadcast(kInfinity)};
      case ActivationKind::Clip: return {broadcast(a.alpha), broadcast(a.beta)};
      default: return {broadcast(-kInfinity), broadcast(kInfinity)};
    }
  }

  const Activation* before;
  const Activation* after;
  bool in_registers;
  Bounds bounds_before, bounds_after;
};

/// Any epilogue, on `rows` rows of one vector, `stride` floats apart and already stored (and so in L1).
/// Lane 0 is `channel`.
inline void finish_stored(const TileEpilogue& epilogue, float* c, const float* residual, std::int64_t rows,
                          std::int64_t stride, std::int64_t channel) {
  if (epilogue.before->kind != ActivationKind::None)
    apply_rows(*epilogue.before, c, c, rows, kLanes, stride, stride, channel);
  if (residual != nullptr) {
    for (std::int64_t row = 0; row < rows; ++row)
      store(c + row * stride, load(c + row * stride) + load(residual + row * stride));
  }
  if (epilogue.after->kind != ActivationKind::None)
    apply_rows(*epilogue.after, c, c, rows, kLanes, stride, stride, channel);
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
