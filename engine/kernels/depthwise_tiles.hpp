#pragma once

// Tiles of a depthwise convolution: some neighbouring outputs of a row, or of two rows, whose sums are held
// in registers and share their inputs. Included only by depthwise.isa.cpp.

#include "kernels/conv_rows.hpp"
#include "kernels/tile_epilogue.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// What positions outside the input read as.
constexpr float kZeros[kBlock] = {};

/// Some neighbouring outputs of a row, one vector of channels.
struct RowWork {
  const ConvAxis* axes = nullptr;
  AxisTaps depth, height;          ///< of two rows: `height` counts the tap rows of both together
  Interior interior;               ///< outputs whose taps along the width all lie on the input
  const float* input = nullptr;    ///< of the first tap on the input, at width position 0
  const float* weights = nullptr;  ///< of that tap row; of two rows: of the first, on the input or not
  const TileEpilogue* epilogue = nullptr;
  const CountedEpilogue* counted = nullptr;  ///< in place of `epilogue`
  bool bare = false;                         ///< leave the epilogue out
  Vec bias;
  /// Rows, or pairs of them, one below the other, that meet as many tap rows.
  std::int64_t repeats = 1;
  float* output = nullptr;          ///< of the row
  const float* residual = nullptr;  ///< of the row, may be null
  std::int64_t channel = 0;
};

template <int kCount>
EMBER_INLINE void clamp_sums(Vec* sums, const Activation& activation, const TileEpilogue::Bounds& bounds) {
  if (activation.kind == ActivationKind::None) return;
  const Vec low = bounds.low;
  if (activation.kind == ActivationKind::Relu) {
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) sums[i] = at_least(sums[i], low);
    return;
  }
  const Vec high = bounds.high;
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) sums[i] = clamp(sums[i], low, high);
}

/// kCount outputs `stride` floats apart, the first `at` floats from the start of the row. What there is to do
/// is decided once for all of them.
template <int kCount>
EMBER_INLINE void finish_outputs(const RowWork& w, Vec* sums, std::int64_t at, std::int64_t stride) {
  const TileEpilogue& epilogue = *w.epilogue;
  float* output = w.output + at;
  const float* residual = w.residual == nullptr ? nullptr : w.residual + at;
  if (w.counted != nullptr) {
    if (residual != nullptr) {
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) sums[i] = sums[i] + load(residual + i * stride);
    }
    const FloatRange firing = w.counted->firing;
    const TileEpilogue::Bounds bounds = w.counted->bounds;
    IntVec fired(0);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      fired = count_in(firing, sums[i], fired);
      sums[i] = clamp(sums[i], bounds.low, bounds.high);
    }
    w.counted->add(w.channel, fired);
  } else if (!w.bare) {
    clamp_sums<kCount>(sums, *epilogue.before, epilogue.bounds_before);
    if (residual != nullptr) {
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) sums[i] = sums[i] + load(residual + i * stride);
    }
    clamp_sums<kCount>(sums, *epilogue.after, epilogue.bounds_after);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) store(output + i * stride, sums[i]);
}

/// Taps [begin, end) of the width, kCount outputs from `first`, any step and dilation.
template <int kCount>
EMBER_INLINE void general_outputs(const RowWork& w, std::int64_t first, std::int64_t begin,
                                  std::int64_t end) {
  const ConvAxis& width = w.axes[2];
  Vec sums[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) sums[i] = w.bias;
  const std::int64_t step = width.in_step * width.in_stride;
  const float* row = w.input + (first * width.in_step + width.in_offset) * width.in_stride;
  for (std::int64_t d = 0; d < w.depth.count; ++d) {
    for (std::int64_t h = 0; h < w.height.count; ++h) {
      const float* x =
          row + d * w.axes[0].tap_step * w.axes[0].in_stride + h * w.axes[1].tap_step * w.axes[1].in_stride;
      const float* weights = w.weights + (d * w.axes[1].taps + h) * width.taps * kBlock;
      for (std::int64_t t = begin; t < end; ++t) {
        const Vec weight = load(weights + t * kBlock);
        const float* tap = x + t * width.tap_step * width.in_stride;
#pragma GCC unroll 8
        for (int i = 0; i < kCount; ++i) sums[i] = fmadd(load(tap + i * step), weight, sums[i]);
      }
    }
  }
  finish_outputs<kCount>(w, sums, first * width.out_stride, width.out_stride);
}

// Three and five taps. The outputs of a row whose distance is a multiple of the dilation meet the same
// inputs: they make a strand, in which each input is loaded once.

struct Strand {
  std::int64_t position = 0;     ///< of the first output's first tap, on the input or not
  const float* input = nullptr;  ///< at `position`, in the first tap row on the input
  std::int64_t output = 0;       ///< floats from the row's first output
};

/// Which of a tile's inputs lie on the image. Only an output's outer taps may be off it.
template <int kOuter>
struct Edges {
  bool left[kOuter], right[kOuter];

  EMBER_INLINE Edges(std::int64_t position, std::int64_t inputs, const ConvAxis& width) {
#pragma GCC unroll 4
    for (int i = 0; i < kOuter; ++i) {
      left[i] = position + i * width.tap_step >= 0;
      right[i] = position + (inputs - kOuter + i) * width.tap_step < width.input;
    }
  }
};

/// What one row of inputs adds to the outputs of one row, or of two.
template <int kTaps, int kInStep, int kCount, bool kUpper, bool kLower>
EMBER_INLINE void add_inputs(const float* x, std::int64_t pixel, const Edges<kTaps / 2>& edges,
                             const float* upper_weights, const float* lower_weights, Vec (&upper)[kCount],
                             Vec (&lower)[kCount]) {
  constexpr int kInputs = (kCount - 1) * kInStep + kTaps;
  constexpr int kOuter = kTaps / 2;
  Vec upper_weight[kTaps];
  Vec lower_weight[kTaps];
#pragma GCC unroll 8
  for (int t = 0; t < kTaps; ++t) {
    if constexpr (kUpper) upper_weight[t] = load(upper_weights + t * kBlock);
    if constexpr (kLower) lower_weight[t] = load(lower_weights + t * kBlock);
  }
#pragma GCC unroll 32
  for (int i = 0; i < kInputs; ++i, x += pixel) {
    bool inside = true;
    if (i < kOuter) inside = edges.left[i];
    if (i >= kInputs - kOuter) inside = inside && edges.right[i - (kInputs - kOuter)];
    const Vec value = load(inside ? x : kZeros);
#pragma GCC unroll 8
    for (int t = 0; t < kTaps; ++t) {
      if (i < t || (i - t) % kInStep != 0 || (i - t) / kInStep >= kCount) continue;
      const int at = (i - t) / kInStep;
      if constexpr (kUpper) upper[at] = fmadd(value, upper_weight[t], upper[at]);
      if constexpr (kLower) lower[at] = fmadd(value, lower_weight[t], lower[at]);
    }
  }
}

/// `tiles` times kCount outputs of a strand, from output `first` on.
template <int kTaps, int kInStep, int kCount>
void one_row(const RowWork& w, const Strand& s, std::int64_t first, std::int64_t tiles) {
  const ConvAxis& depth = w.axes[0];
  const ConvAxis& height = w.axes[1];
  const ConvAxis& width = w.axes[2];
  const std::int64_t pixel = width.tap_step * kBlock;
  const std::int64_t stride = width.tap_step * width.out_stride;
  for (; tiles > 0; --tiles, first += kCount) {
    const Edges<kTaps / 2> edges(s.position + first * kInStep * width.tap_step,
                                 (kCount - 1) * kInStep + kTaps, width);
    for (std::int64_t repeat = 0; repeat < w.repeats; ++repeat) {
      Vec sums[kCount];
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) sums[i] = w.bias;
      for (std::int64_t d = 0; d < w.depth.count; ++d) {
        const float* x = s.input + first * kInStep * pixel + d * depth.tap_step * depth.in_stride +
                         repeat * height.in_step * height.in_stride;
        const float* weights = w.weights + d * height.taps * kTaps * kBlock;
        for (std::int64_t h = 0; h < w.height.count; ++h) {
          add_inputs<kTaps, kInStep, kCount, true, false>(x, pixel, edges, weights, nullptr, sums, sums);
          x += height.tap_step * height.in_stride;
          weights += kTaps * kBlock;
        }
      }
      finish_outputs<kCount>(w, sums, s.output + first * stride + repeat * height.out_stride, stride);
    }
  }
}

/// The same in two rows that share all but one of their tap rows: what both meet is loaded once, and there
/// are twice the sums to hide the latency. Each sum has the order it has in one_row().
template <int kTaps, int kCount>
void two_rows(const RowWork& w, const Strand& s, std::int64_t first, std::int64_t tiles) {
  const ConvAxis& height = w.axes[1];
  const ConvAxis& width = w.axes[2];
  const std::int64_t pixel = width.tap_step * kBlock;
  const std::int64_t stride = width.tap_step * width.out_stride;
  const std::int64_t in_row = height.tap_step * height.in_stride;
  const std::int64_t out_row = height.tap_step * height.out_stride;
  const std::int64_t begin = w.height.begin;
  const std::int64_t end = begin + w.height.count;
  constexpr std::int64_t kRow = kTaps * kBlock;
  for (; tiles > 0; --tiles, first += kCount) {
    const Edges<kTaps / 2> edges(s.position + first * width.tap_step, kCount - 1 + kTaps, width);
    for (std::int64_t repeat = 0; repeat < w.repeats; ++repeat) {
      Vec upper[kCount];
      Vec lower[kCount];
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) upper[i] = lower[i] = w.bias;
      const float* x = s.input + first * pixel + repeat * 2 * in_row;
      if (begin == 0 && end > 0) {
        add_inputs<kTaps, 1, kCount, true, false>(x, pixel, edges, w.weights, nullptr, upper, lower);
        x += in_row;
      }
      const float* weights = w.weights + larger(1, begin) * kRow;
      for (std::int64_t h = larger(1, begin); h < smaller(kTaps, end); ++h, x += in_row, weights += kRow)
        add_inputs<kTaps, 1, kCount, true, true>(x, pixel, edges, weights, weights - kRow, upper, lower);
      if (end > kTaps)
        add_inputs<kTaps, 1, kCount, false, true>(x, pixel, edges, nullptr, weights - kRow, upper, lower);
      const std::int64_t at = s.output + first * stride + repeat * 2 * out_row;
      finish_outputs<kCount>(w, upper, at, stride);
      finish_outputs<kCount>(w, lower, at + out_row, stride);
    }
  }
}

using TileRun = void (*)(const RowWork&, const Strand&, std::int64_t first, std::int64_t tiles);

/// The tiles of a way to walk, entry i for i + 1 outputs.
struct TileRuns {
  const TileRun* by_count = nullptr;
  std::int64_t widest = 0;
};

template <int kTaps, int kInStep>
TileRuns single_runs() {
  static constexpr TileRun kRuns[] = {one_row<kTaps, kInStep, 1>, one_row<kTaps, kInStep, 2>,
                                      one_row<kTaps, kInStep, 3>, one_row<kTaps, kInStep, 4>,
                                      one_row<kTaps, kInStep, 5>, one_row<kTaps, kInStep, 6>,
                                      one_row<kTaps, kInStep, 7>};
  return {kRuns, 7};
}

template <int kTaps>
TileRuns paired_runs() {
#if defined(EMBER_ISA_AVX512)
  static constexpr TileRun kRuns[] = {two_rows<kTaps, 1>, two_rows<kTaps, 2>, two_rows<kTaps, 3>,
                                      two_rows<kTaps, 4>, two_rows<kTaps, 5>, two_rows<kTaps, 6>,
                                      two_rows<kTaps, 7>};
  return {kRuns, 7};
#else
  static constexpr TileRun kRuns[] = {two_rows<kTaps, 1>, two_rows<kTaps, 2>, two_rows<kTaps, 3>,
                                      two_rows<kTaps, 4>};
  return {kRuns, 4};
#endif
}

}  // namespace

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
