#include "kernels/depthwise_tiles.hpp"

// Depthwise convolution: every lane is a channel of its own, so there is no reduction over channels and
// the sums of neighbouring outputs share their inputs instead.

namespace ember::kernels::EMBER_ISA_NAMESPACE {

void run_depthwise(const DepthwiseJob& job, std::int64_t row_begin, std::int64_t row_end);

namespace {

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

/// A job's loops, set up once for all of its blocks.
class BlockRunner {
 public:
  explicit BlockRunner(const DepthwiseJob& job)
      : job_(job),
        epilogue_(job.epilogue.before, job.epilogue.after),
        counted_(job.epilogue),
        only_depth_(taps_at(job.axes[0], 0)),
        whole_(interior_of(job.axes[1])) {
    if (const TileRuns runs = single_runs_of(job); runs.widest > 0) singles_ = StrandWalk(job.axes[2], runs);
    if (const TileRuns runs = paired_runs_of(job); runs.widest > 0) pairs_ = StrandWalk(job.axes[2], runs);
    work_.axes = job.axes;
    work_.epilogue = &epilogue_;
    work_.interior = interior_of(job.axes[2]);
    // As many rows one below the other as stay in L1.
    constexpr std::int64_t kBand = 4096;
    if (job.axes[0].output == 1 && singles_.possible())
      at_once_ = kBand / (job.axes[1].in_step * job.axes[2].input * kBlock);
    if (counted_.applies()) work_.counted = &counted_;
    else work_.bare = job.epilogue.watched() || !epilogue_.in_registers;
  }

  /// Rows [begin, end) of one block.
  void run(std::int64_t block, std::int64_t begin, std::int64_t end) {
    block_ = block;
    // Rows whose distance is the dilation share tap rows.
    if (!pairs_.possible() || job_.axes[1].tap_step == 1) run_neighbours(begin, end);
    else run_apart(job_.axes[1].tap_step, begin, end);
  }

 private:
  void run_neighbours(std::int64_t row_begin, std::int64_t row_end) {
    const std::int64_t width = job_.axes[2].output;
    const std::int64_t at_once = work_.bare ? larger(2, kChunk / width / 2 * 2) : row_end - row_begin;
    for (std::int64_t begin = row_begin; begin < row_end; begin += at_once) {
      const std::int64_t end = smaller(begin + at_once, row_end);
      for (std::int64_t row = begin; row < end;) {
        const bool pair = pairs_.possible() && row + 1 < end;
        work_.repeats = repeats(row, end, pair ? 2 : 1);
        run_row(row, pair);
        row += work_.repeats * (pair ? 2 : 1);
      }
      if (work_.bare) finish_rows(begin, end);
    }
  }

  /// How many times `unit` rows to walk in one go, from `row` on.
  [[nodiscard]] std::int64_t repeats(std::int64_t row, std::int64_t end, std::int64_t unit) const {
    const std::int64_t last = row < whole_.begin ? row : smaller(end, whole_.end);
    return larger(1, smaller(at_once_, last - row) / unit);
  }

  void run_apart(std::int64_t apart, std::int64_t row_begin, std::int64_t row_end) {
    // What has no room in registers is finished some rows at a time, which are still in L1.
    std::int64_t done = row_begin;
    for (std::int64_t begin = row_begin; begin < row_end; begin += 2 * apart) {
      for (std::int64_t row = begin; row < smaller(begin + apart, row_end); ++row)
        run_row(row, row + apart < row_end);
      if (!work_.bare) continue;
      const std::int64_t reached = smaller(begin + 2 * apart, row_end);
      if ((reached + 2 * apart - done) * job_.axes[2].output <= kChunk && reached < row_end) continue;
      finish_rows(done, reached);
      done = reached;
    }
  }

  /// One row, or the first of pairs.
  void run_row(std::int64_t row, bool pair) {
    const auto& [depth, height, width] = job_.axes;
    const std::int64_t at_depth = depth.output == 1 ? 0 : row / height.output;
    const std::int64_t at_height = row - at_depth * height.output;
    RowWork& w = work_;
    w.depth = depth.output == 1 ? only_depth_ : taps_at(depth, at_depth);
    w.height = pair ? pair_taps(at_height) : taps_at(height, at_height);
    const std::int64_t in = block_ * job_.in_block +
                            (w.depth.position + w.depth.begin * depth.tap_step) * depth.in_stride +
                            (w.height.position + w.height.begin * height.tap_step) * height.in_stride;
    const std::int64_t tap_rows =
        (block_ * depth.taps + w.depth.begin) * height.taps + (pair ? 0 : w.height.begin);
    const std::int64_t out =
        block_ * job_.out_block + at_depth * depth.out_stride + at_height * height.out_stride;
    for (std::int64_t lane = 0; lane < kBlock; lane += kLanes) {
      const std::int64_t channel = block_ * kBlock + lane;
      w.input = job_.input + in + lane;
      w.weights = job_.weights + tap_rows * width.taps * kBlock + lane;
      w.bias = job_.epilogue.bias == nullptr ? broadcast(0.0F) : load(job_.epilogue.bias + channel);
      w.output = job_.output + out + lane;
      w.residual = job_.epilogue.residual == nullptr ? nullptr : job_.epilogue.residual + out + lane;
      w.channel = job_.channel + channel;
      if (pair) pairs_.run(w);
      else if (singles_.possible()) singles_.run(w);
      else general_row(w);
    }
  }

  /// The tap rows that a pair of rows meets together.
  [[nodiscard]] AxisTaps pair_taps(std::int64_t upper) const {
    ConvAxis both = job_.axes[1];
    ++both.taps;
    return taps_at(both, upper);
  }

  /// The epilogue on rows [begin, end), stored without it.
  void finish_rows(std::int64_t begin, std::int64_t end) const {
    const std::int64_t width = job_.axes[2].output;
    const std::int64_t count = (end - begin) * width;
    const std::int64_t first = block_ * job_.out_block + begin * width * kBlock;
    for (std::int64_t lane = 0; lane < kBlock; lane += kLanes) {
      const float* residual =
          job_.epilogue.residual == nullptr ? nullptr : job_.epilogue.residual + first + lane;
      const std::int64_t channel = job_.channel + block_ * kBlock + lane;
      float* output = job_.output + first + lane;
      if (job_.epilogue.watched())
        finish_watched(job_.epilogue, {output, 1, 0, count, kBlock}, residual, channel);
      else finish_stored(epilogue_, output, residual, count, kLanes, kBlock, channel);
    }
  }

  const DepthwiseJob& job_;
  TileEpilogue epilogue_;
  CountedEpilogue counted_;
  StrandWalk singles_, pairs_;
  AxisTaps only_depth_;
  Interior whole_;            ///< rows whose every tap row lies on the input
  std::int64_t at_once_ = 1;  ///< rows of them one below the other
  RowWork work_;
  std::int64_t block_ = 0;
};

}  // namespace

void run_depthwise(const DepthwiseJob& job, std::int64_t row_begin, std::int64_t row_end) {
  BlockRunner runner(job);
  for (std::int64_t block = 0; block < job.blocks; ++block) runner.run(block, row_begin, row_end);
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
