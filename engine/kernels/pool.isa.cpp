#include "kernels/pool.hpp"

#include "kernels/conv_rows.hpp"
#include "kernels/register_tile.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

constexpr float kLowest = -__builtin_inff();

/// Running maximum (a NaN in the input is passed over) or sum.
template <PoolKind kKind>
struct Fold {
  static EMBER_INLINE float start() { return kKind == PoolKind::Max ? kLowest : 0.0F; }
  static EMBER_INLINE Vec add(Vec so_far, Vec x) {
    // x86 max gives its second operand when either is NaN.
    if constexpr (kKind == PoolKind::Max) return xsimd::max(x, so_far);
    else return so_far + x;
  }
  static EMBER_INLINE float add(float so_far, float x) {
    if constexpr (kKind == PoolKind::Max) return x > so_far ? x : so_far;
    else return so_far + x;
  }
};

/// The taps of one window along one axis.
struct WindowTaps {
  std::int64_t first = 0;   ///< input position of the first tap on the input
  std::int64_t count = 0;   ///< taps on the input
  std::int64_t weight = 0;  ///< taps that an average divides by
};

EMBER_INLINE std::int64_t steps_to(std::int64_t distance, std::int64_t step) {
  return distance <= 0 ? 0 : (distance + step - 1) / step;
}

EMBER_INLINE WindowTaps window_at(const ConvAxis& axis, std::int64_t pad_end, bool include_padding,
                                  std::int64_t output) {
  const std::int64_t position = output * axis.in_step + axis.in_offset;
  const std::int64_t begin = steps_to(-position, axis.tap_step);
  const std::int64_t end = smaller(axis.taps, steps_to(axis.input - position, axis.tap_step));
  WindowTaps window;
  window.first = position + begin * axis.tap_step;
  window.count = larger(0, end - begin);
  // Padding before the input is never before tap 0.
  window.weight = include_padding
                      ? smaller(axis.taps, steps_to(axis.input + pad_end - position, axis.tap_step))
                      : window.count;
  return window;
}

EMBER_INLINE WindowTaps window_of(const PoolJob& job, int axis, std::int64_t output) {
  return window_at(job.axes[axis], job.pad_end[axis], job.include_padding, output);
}

/// The channels of kCount neighbouring windows, the first of which is given; kTaps of the width, or any
/// number where 0. Several have chains of their own, and share the loops.
template <PoolKind kKind, int kTaps, int kCount>
EMBER_INLINE void pool_windows(const PoolJob& job, const WindowTaps* window, float* output) {
  const ConvAxis& width = job.axes[2];
  const std::int64_t tap_stride = width.tap_step * width.in_stride;
  const std::int64_t step = width.in_step * width.in_stride;
  Vec folded[kCount][kVectorsPerBlock];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    for (std::int64_t v = 0; v < kVectorsPerBlock; ++v) folded[i][v] = broadcast(Fold<kKind>::start());
  }
  const float* plane = job.input + window[0].first * job.axes[0].in_stride +
                       window[1].first * job.axes[1].in_stride + window[2].first * width.in_stride;
  for (std::int64_t d = 0; d < window[0].count; ++d) {
    for (std::int64_t h = 0; h < window[1].count; ++h) {
      const float* tap = plane + d * job.axes[0].tap_step * job.axes[0].in_stride +
                         h * job.axes[1].tap_step * job.axes[1].in_stride;
      const std::int64_t taps = kTaps > 0 ? kTaps : window[2].count;
#pragma GCC unroll 4
      for (std::int64_t w = 0; w < taps; ++w) {
#pragma GCC unroll 4
        for (int i = 0; i < kCount; ++i) {
          for (std::int64_t v = 0; v < kVectorsPerBlock; ++v)
            folded[i][v] = Fold<kKind>::add(folded[i][v], load(tap + i * step + v * kLanes));
        }
        tap += tap_stride;
      }
    }
  }
  const std::int64_t weight = window[0].weight * window[1].weight * window[2].weight;
  const Vec divisor = broadcast(weight == 0 ? 1.0F : static_cast<float>(weight));
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    for (std::int64_t v = 0; v < kVectorsPerBlock; ++v) {
      store(output + i * width.out_stride + v * kLanes,
            kKind == PoolKind::Average ? folded[i][v] / divisor : folded[i][v]);
    }
  }
}

/// Windows [begin, end) of a row, all of whose taps lie on the input along the width; window[2] is for the
/// function to set.
template <PoolKind kKind, int kTaps>
EMBER_INLINE void interior_windows(const PoolJob& job, WindowTaps* window, std::int64_t begin,
                                   std::int64_t end, float* output) {
  constexpr int kTogether = 4;
  const ConvAxis& width = job.axes[2];
  const auto aim = [&](std::int64_t x) {
    window[2] = {x * width.in_step + width.in_offset, width.taps, width.taps};
    return output + x * width.out_stride;
  };
  std::int64_t x = begin;
  for (; x + kTogether <= end; x += kTogether) {
    float* to = aim(x);
    pool_windows<kKind, kTaps, kTogether>(job, window, to);
  }
  for (; x < end; ++x) {
    float* to = aim(x);
    pool_windows<kKind, kTaps, 1>(job, window, to);
  }
}

template <PoolKind kKind>
void blocked_rows(const PoolJob& job, std::int64_t row_begin, std::int64_t row_end) {
  const ConvAxis& width = job.axes[2];
  const Interior interior = interior_of(width);
  for (std::int64_t row = row_begin; row < row_end; ++row) {
    WindowTaps window[3];
    const std::int64_t depth = row / job.axes[1].output;
    const std::int64_t height = row % job.axes[1].output;
    window[0] = window_of(job, 0, depth);
    window[1] = window_of(job, 1, height);
    float* output = job.output + depth * job.axes[0].out_stride + height * job.axes[1].out_stride;
    const auto border = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t x = begin; x < end; ++x) {
        window[2] = window_of(job, 2, x);
        pool_windows<kKind, 0, 1>(job, window, output + x * width.out_stride);
      }
    };
    border(0, interior.begin);
    if (width.taps == 3) interior_windows<kKind, 3>(job, window, interior.begin, interior.end, output);
    else if (width.taps == 2) interior_windows<kKind, 2>(job, window, interior.begin, interior.end, output);
    else interior_windows<kKind, 0>(job, window, interior.begin, interior.end, output);
    border(interior.end, width.output);
  }
}

/// Folds `count` floats of x into `line`.
template <PoolKind kKind>
EMBER_INLINE void fold_line(const float* x, std::int64_t count, float* line) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(line + i, Fold<kKind>::add(load(line + i), load(x + i)));
  for (; i < count; ++i) line[i] = Fold<kKind>::add(line[i], x[i]);
}

/// First the taps of depth and height, whole rows at a time, then those of the
/// width.
template <PoolKind kKind>
void plain_rows(const PoolJob& job, std::int64_t row_begin, std::int64_t row_end, float* line) {
  const ConvAxis& width = job.axes[2];
  for (std::int64_t row = row_begin; row < row_end; ++row) {
    const std::int64_t at_depth = row / job.axes[1].output;
    const std::int64_t at_height = row % job.axes[1].output;
    const WindowTaps depth = window_of(job, 0, at_depth);
    const WindowTaps height = window_of(job, 1, at_height);
    for (std::int64_t i = 0; i < width.input; ++i) line[i] = Fold<kKind>::start();
    for (std::int64_t d = 0; d < depth.count; ++d) {
      for (std::int64_t h = 0; h < height.count; ++h) {
        fold_line<kKind>(job.input + (depth.first + d * job.axes[0].tap_step) * job.axes[0].in_stride +
                             (height.first + h * job.axes[1].tap_step) * job.axes[1].in_stride,
                         width.input, line);
      }
    }
    float* output = job.output + at_depth * job.axes[0].out_stride + at_height * job.axes[1].out_stride;
    for (std::int64_t x = 0; x < width.output; ++x) {
      const WindowTaps window = window_of(job, 2, x);
      float folded = Fold<kKind>::start();
      for (std::int64_t w = 0; w < window.count; ++w)
        folded = Fold<kKind>::add(folded, line[window.first + w * width.tap_step]);
      const std::int64_t weight = depth.weight * height.weight * window.weight;
      if constexpr (kKind == PoolKind::Average) folded /= weight == 0 ? 1.0F : static_cast<float>(weight);
      output[x] = folded;
    }
  }
}

/// Four chains of vectors side by side, for speed and for rounding.
constexpr std::int64_t kChains = 4;

template <PoolKind kKind>
EMBER_INLINE Vec merge(const Vec* chains) {
  return Fold<kKind>::add(Fold<kKind>::add(chains[0], chains[1]), Fold<kKind>::add(chains[2], chains[3]));
}

template <PoolKind kKind>
void global_block(const float* input, std::int64_t positions, float* output) {
  for (std::int64_t lane = 0; lane < kBlock; lane += kLanes) {
    Vec chains[kChains];
    for (Vec& chain : chains) chain = broadcast(Fold<kKind>::start());
    std::int64_t p = 0;
    for (; p + kChains <= positions; p += kChains) {
#pragma GCC unroll 4
      for (std::int64_t i = 0; i < kChains; ++i)
        chains[i] = Fold<kKind>::add(chains[i], load(input + (p + i) * kBlock + lane));
    }
    for (; p < positions; ++p) chains[0] = Fold<kKind>::add(chains[0], load(input + p * kBlock + lane));
    const Vec folded = merge<kKind>(chains);
    store(output + lane,
          kKind == PoolKind::Average ? folded / broadcast(static_cast<float>(positions)) : folded);
  }
}

template <PoolKind kKind>
float global_channel(const float* input, std::int64_t positions) {
  Vec chains[kChains];
  for (Vec& chain : chains) chain = broadcast(Fold<kKind>::start());
  std::int64_t p = 0;
  for (; p + kChains * kLanes <= positions; p += kChains * kLanes) {
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < kChains; ++i)
      chains[i] = Fold<kKind>::add(chains[i], load(input + p + i * kLanes));
  }
  float lanes[kLanes];
  store(lanes, merge<kKind>(chains));
  float folded = Fold<kKind>::start();
  for (const float lane : lanes) folded = Fold<kKind>::add(folded, lane);
  for (; p < positions; ++p) folded = Fold<kKind>::add(folded, input[p]);
  return kKind == PoolKind::Average ? folded / static_cast<float>(positions) : folded;
}

void blocked(const PoolJob& job, std::int64_t row_begin, std::int64_t row_end) {
  if (job.kind == PoolKind::Max) blocked_rows<PoolKind::Max>(job, row_begin, row_end);
  else blocked_rows<PoolKind::Average>(job, row_begin, row_end);
}

void plain(const PoolJob& job, std::int64_t row_begin, std::int64_t row_end, float* line) {
  if (job.kind == PoolKind::Max) plain_rows<PoolKind::Max>(job, row_begin, row_end, line);
  else plain_rows<PoolKind::Average>(job, row_begin, row_end, line);
}

void global_blocked(PoolKind kind, const float* input, std::int64_t positions, float* output) {
  if (kind == PoolKind::Max) global_block<PoolKind::Max>(input, positions, output);
  else global_block<PoolKind::Average>(input, positions, output);
}

float global_plain(PoolKind kind, const float* input, std::int64_t positions) {
  return kind == PoolKind::Max ? global_channel<PoolKind::Max>(input, positions)
                               : global_channel<PoolKind::Average>(input, positions);
}

}  // namespace

extern const PoolKernels kPool;
const PoolKernels kPool = {
    .blocked = blocked,
    .plain = plain,
    .global_blocked = global_blocked,
    .global_plain = global_plain,
};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
