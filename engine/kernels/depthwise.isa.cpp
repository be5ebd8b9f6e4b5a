#include "kernels/conv_rows.hpp"
#include "kernels/tile_epilogue.hpp"

// Depthwise convolution: every lane is a channel of its own, so there is no reduction over channels and
// the sums of neighbouring outputs share their inputs instead.

namespace ember::kernels::EMBER_ISA_NAMESPACE {

void run_depthwise(const DepthwiseJob& job, std::int64_t row_begin, std::int64_t row_end);

namespace {

/// Some neighbouring outputs of a row, one vector of channels.
struct RowWork {
  const ConvAxis* axes = nullptr;
  AxisTaps depth, height;
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

/// kCount outputs whose kTaps neighbouring taps all lie on the input: each input is loaded once.
template <int kTaps, int kInStep, int kCount>
EMBER_INLINE void dense_outputs(const RowWork& w, std::int64_t first) {
  Vec sums[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) sums[i] = w.bias;
  const ConvAxis& width = w.axes[2];
  const float* row = w.input + (first * kInStep + width.in_offset) * kBlock;
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
        const Vec value = load(x + i * kBlock);
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

template <int kTaps, int kInStep>
void dense_row(const RowWork& w, std::int64_t begin, std::int64_t end) {
  constexpr int kMany = kTaps > 3 ? 6 : 8;
  for (; end - begin >= kMany; begin += kMany) dense_outputs<kTaps, kInStep, kMany>(w, begin);
  for (; end - begin >= 3; begin += 3) dense_outputs<kTaps, kInStep, 3>(w, begin);
  for (; begin < end; ++begin) dense_outputs<kTaps, kInStep, 1>(w, begin);
}

void general_row(const RowWork& w, std::int64_t begin, std::int64_t end) {
  const std::int64_t taps = w.axes[2].taps;
  for (; end - begin >= 8; begin += 8) general_outputs<8>(w, begin, 0, taps);
  for (; end - begin >= 3; begin += 3) general_outputs<3>(w, begin, 0, taps);
  for (; begin < end; ++begin) general_outputs<1>(w, begin, 0, taps);
}

void border_row(const RowWork& w, std::int64_t begin, std::int64_t end) {
  for (; begin < end; ++begin) {
    const AxisTaps taps = taps_at(w.axes[2], begin);
    general_outputs<1>(w, begin, taps.begin, taps.begin + taps.count);
  }
}

using RowFunction = void (*)(const RowWork&, std::int64_t, std::int64_t);

RowFunction inner_function(const ConvAxis& width) {
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
  const Interior interior = interior_of(width);
  const RowFunction inner = inner_function(width);
  const TileEpilogue epilogue(job.epilogue.before, job.epilogue.after);
  RowWork w;
  w.axes = job.axes;
  w.epilogue = &epilogue;
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
      border_row(w, 0, interior.begin);
      inner(w, interior.begin, interior.end);
      border_row(w, interior.end, width.output);
    }
  }
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
