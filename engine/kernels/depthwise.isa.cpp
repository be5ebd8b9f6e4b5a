#include "kernels/conv_rows.hpp"
#include "kernels/tile_epilogue.hpp"

// Depthwise convolution: every lane is a channel of its own, so there is no reduction over channels and
// the sums of neighbouring outputs share their inputs instead.

namespace ember::kernels::EMBER_ISA_NAMESPACE {

void run_depthwise(const DepthwiseJob& job, std::int64_t row_begin, std::int64_t row_end);

namespace {

/// What positions outside the input read as.
constexpr float kZeros[kBlock] = {};

/// Some neighbouring outputs of a row, one vector of channels.
struct RowWork {
  const ConvAxis* axes = nullptr;
  AxisTaps depth, height;
  Interior interior;               ///< outputs whose taps along the width all lie on the input
  const float* input = nullptr;    ///< of the first tap on the input, at width position 0
  const float* weights = nullptr;  ///< of that tap row
  const TileEpilogue* epilogue = nullptr;
  Vec bias;
  float* output = nullptr;          ///< of the row
  const float* residual = nullptr;  ///< of the row, may be null
  std::int64_t channel = 0;
};

template <int kCount>
EMBER_INLINE void finish_outputs(const RowWork& w, Vec* sums, std::int64_t first) {
  const std::int64_t stride = w.axes[2].out_stride;
  const std::int64_t at = first * stride;
  const TileEpilogue& epilogue = *w.epilogue;
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    const std::int64_t offset = at + i * stride;
    if (epilogue.in_registers)
      sums[i] = epilogue.apply(sums[i], w.residual == nullptr ? nullptr : w.residual + offset);
    store(w.output + offset, sums[i]);
  }
  if (!epilogue.in_registers) {
    finish_stored(epilogue, w.output + at, w.residual == nullptr ? nullptr : w.residual + at, kCount, stride,
                  w.channel);
  }
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
  finish_outputs<kCount>(w, sums, first);
}

/// kCount outputs with kTaps neighbouring taps: each input is loaded once. Bordered ones check every
/// position against the input.
template <int kTaps, int kInStep, int kCount, bool kBordered>
EMBER_INLINE void dense_outputs(const RowWork& w, std::int64_t first) {
  Vec sums[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) sums[i] = w.bias;
  const ConvAxis& width = w.axes[2];
  const std::int64_t position = first * kInStep + width.in_offset;
  const float* row = w.input + position * kBlock;
  for (std::int64_t d = 0; d < w.depth.count; ++d) {
    for (std::int64_t h = 0; h < w.height.count; ++h) {
      const float* x =
          row + d * w.axes[0].tap_step * w.axes[0].in_stride + h * w.axes[1].tap_step * w.axes[1].in_stride;
      const float* weights = w.weights + (d * w.axes[1].taps + h) * kTaps * kBlock;
      Vec weight[kTaps];
#pragma GCC unroll 8
      for (int t = 0; t < kTaps; ++t) weight[t] = load(weights + t * kBlock);
#pragma GCC unroll 32
      for (int i = 0; i < (kCount - 1) * kInStep + kTaps; ++i) {
        const bool inside =
            !kBordered || static_cast<std::uint64_t>(position + i) < static_cast<std::uint64_t>(width.input);
        const Vec value = load(inside ? x + i * kBlock : kZeros);
#pragma GCC unroll 8
        for (int t = 0; t < kTaps; ++t) {
          if (i >= t && (i - t) % kInStep == 0 && (i - t) / kInStep < kCount)
            sums[(i - t) / kInStep] = fmadd(value, weight[t], sums[(i - t) / kInStep]);
        }
      }
    }
  }
  finish_outputs<kCount>(w, sums, first);
}

template <int kTaps, int kInStep, int kCount>
EMBER_INLINE void dense_or_bordered(const RowWork& w, std::int64_t first) {
  if (first >= w.interior.begin && first + kCount <= w.interior.end)
    dense_outputs<kTaps, kInStep, kCount, false>(w, first);
  else dense_outputs<kTaps, kInStep, kCount, true>(w, first);
}

/// A whole row. Widths are multiples of 7 more often than not.
template <int kTaps, int kInStep>
void dense_row(const RowWork& w) {
  const std::int64_t end = w.axes[2].output;
  std::int64_t at = 0;
  for (; end - at >= 7; at += 7) dense_or_bordered<kTaps, kInStep, 7>(w, at);
  for (; end - at >= 3; at += 3) dense_or_bordered<kTaps, kInStep, 3>(w, at);
  for (; at < end; ++at) dense_or_bordered<kTaps, kInStep, 1>(w, at);
}

void border_outputs(const RowWork& w, std::int64_t begin, std::int64_t end) {
  for (; begin < end; ++begin) {
    const AxisTaps taps = taps_at(w.axes[2], begin);
    general_outputs<1>(w, begin, taps.begin, taps.begin + taps.count);
  }
}

void general_row(const RowWork& w) {
  const std::int64_t taps = w.axes[2].taps;
  const std::int64_t end = w.interior.end;
  std::int64_t at = w.interior.begin;
  border_outputs(w, 0, at);
  for (; end - at >= 8; at += 8) general_outputs<8>(w, at, 0, taps);
  for (; end - at >= 3; at += 3) general_outputs<3>(w, at, 0, taps);
  for (; at < end; ++at) general_outputs<1>(w, at, 0, taps);
  border_outputs(w, end, w.axes[2].output);
}

using RowFunction = void (*)(const RowWork&);

RowFunction row_function(const ConvAxis& width) {
  if (width.tap_step != 1 || width.in_stride != kBlock) return general_row;
  if (width.taps == 3 && width.in_step == 1) return dense_row<3, 1>;
  if (width.taps == 3 && width.in_step == 2) return dense_row<3, 2>;
  if (width.taps == 5 && width.in_step == 1) return dense_row<5, 1>;
  if (width.taps == 5 && width.in_step == 2) return dense_row<5, 2>;
  return general_row;
}

}  // namespace

void run_depthwise(const DepthwiseJob& job, std::int64_t row_begin, std::int64_t row_end) {
  const ConvAxis& depth = job.axes[0];
  const ConvAxis& height = job.axes[1];
  const ConvAxis& width = job.axes[2];
  const RowFunction run_row = row_function(width);
  const TileEpilogue epilogue(job.epilogue.before, job.epilogue.after);
  RowWork w;
  w.axes = job.axes;
  w.epilogue = &epilogue;
  w.interior = interior_of(width);
  for (std::int64_t row = row_begin; row < row_end; ++row) {
    const std::int64_t at_depth = row / height.output;
    const std::int64_t at_height = row % height.output;
    w.depth = taps_at(depth, at_depth);
    w.height = taps_at(height, at_height);
    const std::int64_t in = (w.depth.position + w.depth.begin * depth.tap_step) * depth.in_stride +
                            (w.height.position + w.height.begin * height.tap_step) * height.in_stride;
    const std::int64_t weights = (w.depth.begin * height.taps + w.height.begin) * width.taps * kBlock;
    const std::int64_t out = at_depth * depth.out_stride + at_height * height.out_stride;
    for (std::int64_t lane = 0; lane < kBlock; lane += kLanes) {
      w.input = job.input + in + lane;
      w.weights = job.weights + weights + lane;
      w.bias = job.epilogue.bias == nullptr ? broadcast(0.0F) : load(job.epilogue.bias + lane);
      w.output = job.output + out + lane;
      w.residual = job.epilogue.residual == nullptr ? nullptr : job.epilogue.residual + out + lane;
      w.channel = job.channel + lane;
      run_row(w);
    }
  }
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
