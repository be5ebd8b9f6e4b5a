#pragma once

// What follows a tile of sums (see ProductEpilogue). Included only by *.isa.cpp files.

#include "kernels/activation_math.hpp"
#include "kernels/product.hpp"
#include "kernels/vector_loop.hpp"
#include "kernels/watched_activation.hpp"

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
    if (residual) add_residual(sums, residual_at);
    clamp_tile(sums, *after, bounds_after);
  }

  template <int kRows, int kVectors, class Residual>
  static EMBER_INLINE void add_residual(Vec (&sums)[kRows][kVectors], Residual&& residual_at) {
#pragma GCC unroll 32
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sums[r][v] = sums[r][v] + load(residual_at(r, v));
    }
  }

  template <int kRows, int kVectors>
  static EMBER_INLINE void clamp_tile(Vec (&sums)[kRows][kVectors], const Activation& activation,
                                      const Bounds& bounds) {
    if (activation.kind == ActivationKind::None) return;
    if (activation.kind == ActivationKind::Relu) {
#pragma GCC unroll 32
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sums[r][v] = at_least(sums[r][v], bounds.low);
      }
      return;
    }
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

/// An epilogue of which nothing is watched but what fires the last activation, which nothing negative does:
/// that is counted in registers.
struct CountedEpilogue {
  EMBER_INLINE explicit CountedEpilogue(const ProductEpilogue& epilogue) {
    const auto alone = [](const Watch& one, const Activation& applied) {
      return one.rule != nullptr && one.rule->counts_only && one.rule->firing.fired_above >= 0.0F &&
             runs_in_registers(applied.kind);
    };
    const Activation* activation = nullptr;
    if (alone(epilogue.watch_after, epilogue.after) && epilogue.before.kind == ActivationKind::None) {
      watch = epilogue.watch_after;
      activation = &epilogue.after;
    } else if (alone(epilogue.watch_before, epilogue.before) && epilogue.residual == nullptr &&
               epilogue.after.kind == ActivationKind::None) {
      watch = epilogue.watch_before;
      activation = &epilogue.before;
    } else {
      return;
    }
    bounds = TileEpilogue::bounds_of(*activation);
    firing = FloatRange(watch.rule->firing.fired_above, watch.rule->firing.fired_below);
  }

  [[nodiscard]] EMBER_INLINE bool applies() const { return watch.rule != nullptr; }

  EMBER_INLINE Vec apply(Vec sum, const float* residual, IntVec& fired) const {
    if (residual != nullptr) sum = sum + load(residual);
    fired = count_in(firing, sum, fired);
    return clamp(sum, bounds.low, bounds.high);
  }

  /// On a tile of sums, as TileEpilogue::apply_tile().
  template <int kRows, int kVectors, class Residual>
  EMBER_INLINE void apply_tile(Vec (&sums)[kRows][kVectors], bool residual, Residual&& residual_at,
                               std::int64_t channel) const {
    if (residual) TileEpilogue::add_residual(sums, residual_at);
    const FloatRange range = firing;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      IntVec fired(0);
#pragma GCC unroll 32
      for (int r = 0; r < kRows; ++r) fired = count_in(range, sums[r][v], fired);
      add(channel + v * kLanes, fired);
    }
    const Vec low = bounds.low;
    const Vec high = bounds.high;
#pragma GCC unroll 32
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sums[r][v] = clamp(sums[r][v], low, high);
    }
  }

  /// What fired on the lanes `channel`, …
  EMBER_INLINE void add(std::int64_t channel, IntVec fired) const {
    add_fired(watch.pieces[channel / PieceTotals::kChannels], channel % PieceTotals::kChannels, fired);
  }

  Watch watch;
  TileEpilogue::Bounds bounds{broadcast(0.0F), broadcast(0.0F)};
  FloatRange firing{0.0F, 0.0F};
};

/// Any epilogue, on `rows` rows of `width` columns, `stride` floats apart and already stored (and so in L1).
/// Column 0 is `channel`.
inline void finish_stored(const TileEpilogue& epilogue, float* c, const float* residual, std::int64_t rows,
                          std::int64_t width, std::int64_t stride, std::int64_t channel) {
  if (epilogue.before->kind != ActivationKind::None)
    apply_rows(*epilogue.before, c, c, rows, width, stride, stride, channel);
  for (std::int64_t row = 0; row < rows && residual != nullptr; ++row) {
    const std::int64_t at = row * stride;
    for_each_vector(width, [&](std::int64_t i, std::int64_t lanes) {
      put(c + at + i, get(c + at + i, lanes) + get(residual + at + i, lanes), lanes);
    });
  }
  if (epilogue.after->kind != ActivationKind::None)
    apply_rows(*epilogue.after, c, c, rows, width, stride, stride, channel);
}

/// An epilogue of which something is watched, on stored positions of one vector of channels; `residual` is
/// laid out as they are and may be null.
inline void finish_watched(const ProductEpilogue& epilogue, const Positions& positions, const float* residual,
                           std::int64_t channel) {
  if (epilogue.watch_after.rule != nullptr && epilogue.before.kind == ActivationKind::None) {
    apply_watched(epilogue.watch_after, epilogue.after, positions, residual, channel);
    return;
  }
  const auto activate = [&](const Activation& activation, const Watch& watch) {
    if (watch.rule != nullptr) {
      apply_watched(watch, activation, positions, nullptr, channel);
    } else if (activation.kind != ActivationKind::None) {
      for (std::int64_t run = 0; run < positions.runs; ++run) {
        float* at = positions.first + run * positions.run_stride;
        apply_rows(activation, at, at, positions.length, kLanes, positions.stride, positions.stride, channel);
      }
    }
  };
  activate(epilogue.before, epilogue.watch_before);
  if (residual != nullptr) {
    for (std::int64_t run = 0; run < positions.runs; ++run) {
      const std::int64_t first = run * positions.run_stride;
      for (std::int64_t i = 0; i < positions.length; ++i) {
        float* at = positions.first + first + i * positions.stride;
        store(at, load(at) + load(residual + first + i * positions.stride));
      }
    }
  }
  activate(epilogue.after, epilogue.watch_after);
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
