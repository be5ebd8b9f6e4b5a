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
  const CountedEpilogue* counted = nullptr;  ///< in place of `epilogue`
  bool watched = false;                      ///< leave the epilogue out
  Vec bias;
  std::int64_t pairs = 1;           ///< of rows, one below the other, where two are walked together
  float* output = nullptr;          ///< of the row
  const float* residual = nullptr;  ///< of the row, may be null
  std::int64_t channel = 0;
};

template <int kCount>
EMBER_INLINE void clamp_sums(Vec* sums, const Activation& activation, const TileEpilogue::Bounds& bounds) {
  if (activation.kind == ActivationKind::None) return;
  const Vec low = bounds.low;
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
  } else if (epilogue.in_registers && !w.watched) {
    clamp_sums<kCount>(sums, *epilogue.before, epilogue.bounds_before);
    if (residual != nullptr) {
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) sums[i] = sums[i] + load(residual + i * stride);
    }
    clamp_sums<kCount>(sums, *epilogue.after, epilogue.bounds_after);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) store(output + i * stride, sums[i]);
  if (!epilogue.in_registers && !w.watched && w.counted == nullptr)
    finish_stored(epilogue, output, residual, kCount, kLanes, stride, w.channel);
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
    Vec sums[kCount];
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) sums[i] = w.bias;
    for (std::int64_t d = 0; d < w.depth.count; ++d) {
      const float* x = s.input + first * kInStep * pixel + d * depth.tap_step * depth.in_stride;
      const float* weights = w.weights + d * height.taps * kTaps * kBlock;
      for (std::int64_t h = 0; h < w.height.count; ++h) {
        add_inputs<kTaps, kInStep, kCount, true, false>(x, pixel, edges, weights, nullptr, sums, sums);
        x += height.tap_step * height.in_stride;
        weights += kTaps * kBlock;
      }
    }
    finish_outputs<kCount>(w, sums, s.output + first * stride, stride);
  }
}

/// The same in two rows that share all but one of their tap rows, which all lie on the input: what both meet
/// is loaded once, and there are twice the sums to hide the latency. Each sum has the order it has in
/// one_row().
template <int kTaps, int kCount>
void two_rows(const RowWork& w, const Strand& s, std::int64_t first, std::int64_t tiles) {
  const ConvAxis& height = w.axes[1];
  const ConvAxis& width = w.axes[2];
  const std::int64_t pixel = width.tap_step * kBlock;
  const std::int64_t stride = width.tap_step * width.out_stride;
  const std::int64_t in_row = height.tap_step * height.in_stride;
  const std::int64_t out_row = height.tap_step * height.out_stride;
  for (; tiles > 0; --tiles, first += kCount) {
    const Edges<kTaps / 2> edges(s.position + first * width.tap_step, kCount - 1 + kTaps, width);
    for (std::int64_t pair = 0; pair < w.pairs; ++pair) {
      Vec upper[kCount];
      Vec lower[kCount];
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) upper[i] = lower[i] = w.bias;
      const float* x = s.input + first * pixel + pair * 2 * in_row;
      const float* weights = w.weights;
      constexpr std::int64_t kRow = kTaps * kBlock;
      add_inputs<kTaps, 1, kCount, true, false>(x, pixel, edges, weights, nullptr, upper, lower);
      for (int h = 1; h < kTaps; ++h) {
        x += in_row;
        weights += kRow;
        add_inputs<kTaps, 1, kCount, true, true>(x, pixel, edges, weights, weights - kRow, upper, lower);
      }
      add_inputs<kTaps, 1, kCount, false, true>(x + in_row, pixel, edges, nullptr, weights, upper, lower);
      const std::int64_t at = s.output + first * stride + pair * 2 * out_row;
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

/// `count` outputs in tiles as equal as possible: `wider` tiles of one more than the others.
struct TileSplit {
  std::int64_t tiles = 0;
  std::int64_t narrow = 0;
  std::int64_t wider = 0;

  EMBER_INLINE TileSplit() = default;
  EMBER_INLINE TileSplit(std::int64_t count, std::int64_t widest)
      : tiles((count + widest - 1) / widest),
        narrow(tiles == 0 ? 0 : count / tiles),
        wider(tiles == 0 ? 0 : count % tiles) {}
};

/// How the rows of a job are walked in strands; made once, as divisions take longer than a narrow row.
class StrandWalk {
 public:
  StrandWalk() = default;
  StrandWalk(const ConvAxis& width, const TileRuns& runs) : runs_(runs) {
    if (width.tap_step == 1) {
      short_ = TileSplit(width.output, runs.widest);
      return;
    }
    strands_ = smaller(width.tap_step, width.output);
    longer_ = width.output % width.tap_step;
    long_ = TileSplit(width.output / width.tap_step + 1, runs.widest);
    short_ = TileSplit(width.output / width.tap_step, runs.widest);
  }

  [[nodiscard]] bool possible() const { return runs_.widest > 0; }

  /// One row, or two.
  void run(const RowWork& w) const {
    const ConvAxis& width = w.axes[2];
    for (std::int64_t i = 0; i < strands_; ++i) {
      Strand s;
      s.position = width.in_offset + i;
      s.input = w.input + s.position * kBlock;
      s.output = i * width.out_stride;
      const TileSplit& split = i < longer_ ? long_ : short_;
      if (split.wider > 0) runs_.by_count[split.narrow](w, s, 0, split.wider);
      runs_.by_count[split.narrow - 1](w, s, split.wider * (split.narrow + 1), split.tiles - split.wider);
    }
  }

 private:
  TileRuns runs_;
  std::int64_t strands_ = 1;
  std::int64_t longer_ = 0;  ///< strands with one output more than the others
  TileSplit long_, short_;
};

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

/// The epilogue on rows [begin, end), stored without it.
void finish_rows(const DepthwiseJob& job, std::int64_t begin, std::int64_t end) {
  const std::int64_t width = job.axes[2].output;
  const std::int64_t first = begin * width * kBlock;
  for (std::int64_t lane = 0; lane < kBlock; lane += kLanes) {
    const float* residual = job.epilogue.residual == nullptr ? nullptr : job.epilogue.residual + first + lane;
    finish_watched(job.epilogue, {job.output + first + lane, 1, 0, (end - begin) * width, kBlock}, residual,
                   job.channel + lane);
  }
}

/// How rows are walked one by one: in strands, or (no runs) in the general way.
TileRuns single_runs_of(const DepthwiseJob& job) {
  const ConvAxis& width = job.axes[2];
  const std::int64_t middle = width.in_offset + width.taps / 2 * width.tap_step;
  const bool centred = middle >= 0 && middle + (width.output - 1) * width.in_step < width.input;
  const bool strands = width.tap_step > 0 && (width.in_step == 1 || width.tap_step == 1);
  if (!centred || !strands || width.in_stride != kBlock) return {};
  if (width.taps == 3 && width.in_step == 1) return single_runs<3, 1>();
  if (width.taps == 3 && width.in_step == 2) return single_runs<3, 2>();
  if (width.taps == 5 && width.in_step == 1) return single_runs<5, 1>();
  if (width.taps == 5 && width.in_step == 2) return single_runs<5, 2>();
  return {};
}

/// How two rows are walked together, if they can be.
TileRuns paired_runs_of(const DepthwiseJob& job) {
  const ConvAxis& depth = job.axes[0];
  const ConvAxis& height = job.axes[1];
  const ConvAxis& width = job.axes[2];
  const bool flat = depth.taps == 1 && depth.output == 1;
  const bool square = height.taps == width.taps && height.in_step == 1 && width.in_step == 1;
  if (!flat || !square || height.tap_step < 1 || single_runs_of(job).widest == 0) return {};
  return width.taps == 3 ? paired_runs<3>() : paired_runs<5>();
}

}  // namespace

void run_depthwise(const DepthwiseJob& job, std::int64_t row_begin, std::int64_t row_end) {
  const ConvAxis& depth = job.axes[0];
  const ConvAxis& height = job.axes[1];
  const ConvAxis& width = job.axes[2];
  const TileRuns single_runs = single_runs_of(job);
  const TileRuns paired_runs = paired_runs_of(job);
  const StrandWalk singles = single_runs.widest > 0 ? StrandWalk(width, single_runs) : StrandWalk();
  const StrandWalk pairs = paired_runs.widest > 0 ? StrandWalk(width, paired_runs) : StrandWalk();
  const TileEpilogue epilogue(job.epilogue.before, job.epilogue.after);
  RowWork w;
  w.axes = job.axes;
  w.epilogue = &epilogue;
  w.interior = interior_of(width);
  const CountedEpilogue counted(job.epilogue);
  if (counted.applies()) w.counted = &counted;
  else w.watched = job.epilogue.watched();
  const AxisTaps only_depth = taps_at(depth, 0);
  const auto run = [&](std::int64_t row, bool pair) {
    const std::int64_t at_depth = depth.output == 1 ? 0 : row / height.output;
    const std::int64_t at_height = row - at_depth * height.output;
    w.depth = depth.output == 1 ? only_depth : taps_at(depth, at_depth);
    if (pair) w.height = {at_height * height.in_step + height.in_offset, 0, height.taps};
    else w.height = taps_at(height, at_height);
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
      if (pair) pairs.run(w);
      else if (singles.possible()) singles.run(w);
      else general_row(w);
    }
  };
  // Rows whose distance is the dilation share tap rows.
  const std::int64_t apart = pairs.possible() ? height.tap_step : 1;
  if (apart == 1) {
    // Pairs one below the other, as many as stay in L1.
    constexpr std::int64_t kBand = 4096;
    const std::int64_t band = larger(1, kBand / (2 * width.output * kBlock));
    const std::int64_t paired_end = height.input - height.in_offset - height.taps;  // first rows of pairs
    const std::int64_t at_once = w.watched ? larger(2, kChunk / width.output) : row_end - row_begin;
    for (std::int64_t begin = row_begin; begin < row_end; begin += at_once) {
      const std::int64_t end = smaller(begin + at_once, row_end);
      for (std::int64_t row = begin; row < end;) {
        const bool pair =
            pairs.possible() && row + height.in_offset >= 0 && row < paired_end && row + 1 < end;
        if (pair) w.pairs = smaller(band, smaller(end - row, paired_end - row + 1) / 2);
        run(row, pair);
        row += pair ? 2 * w.pairs : 1;
      }
      if (w.watched) finish_rows(job, begin, end);
    }
    return;
  }
  // What is watched is finished some rows at a time, which are still in L1.
  std::int64_t done = row_begin;
  for (std::int64_t begin = row_begin; begin < row_end; begin += 2 * apart) {
    for (std::int64_t row = begin; row < smaller(begin + apart, row_end); ++row) {
      const bool both = row + apart < row_end;
      const std::int64_t position = row * height.in_step + height.in_offset;
      const bool pair = both && pairs.possible() && position >= 0 &&
                        position + height.taps * height.tap_step < height.input;
      run(row, pair);
      if (both && !pair) run(row + apart, false);
    }
    if (!w.watched) continue;
    const std::int64_t reached = smaller(begin + 2 * apart, row_end);
    if ((reached + 2 * apart - done) * width.output <= kChunk && reached < row_end) continue;
    finish_rows(job, done, reached);
    done = reached;
  }
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
