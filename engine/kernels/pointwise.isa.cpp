#include "kernels/pointwise.hpp"

#include "kernels/column_tile.hpp"
#include "kernels/tile_epilogue.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// Outputs that one pass after the other goes over.
constexpr std::int64_t kOutputsPerPass = 24 * kTileRows;

}  // namespace

bool is_pointwise(const ConvJob& job) {
  const auto& [depth, height, width] = job.axes;
  const bool one_row = depth.output * height.output == 1 && depth.taps * height.taps * width.taps == 1;
  const bool on_input = depth.in_offset == 0 && height.in_offset == 0 && width.in_offset == 0;
  const bool neighbours = width.in_step == 1 && width.in_stride == kBlock && width.out_stride == kBlock &&
                          width.output <= width.input && job.lanes <= kBlock && job.lane_stride == 1;
  return one_row && on_input && neighbours;
}

void run_pointwise(const ConvJob& job, std::int64_t begin, std::int64_t end, std::int64_t tile_begin,
                   std::int64_t tile_end) {
  const TileEpilogue epilogue(job.epilogue.before, job.epilogue.after);
  const CountedEpilogue counted(job.epilogue);
  const bool gathers = job.epilogue.watched() && !counted.applies();
  const bool in_registers = counted.applies() || (epilogue.in_registers && !gathers);
  // What has no room in registers follows some tiles later, which are still in L1.
  constexpr std::int64_t kTogether = 4 * kTileRows;
  constexpr std::int64_t kGathered = kChunk / kTileRows * kTileRows;
  const std::int64_t most = kStepsPerPass / job.lanes;
  const std::int64_t passes = (job.channels + most - 1) / most;
  const std::int64_t in_step = passes > 1 ? kOutputsPerPass : end - begin;
  const std::int64_t step = in_registers ? in_step : gathers ? kGathered : kTogether;
  for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const std::int64_t blocks = smaller(kTileColumns / kBlock, job.blocks - tile * (kTileColumns / kBlock));
    const std::int64_t vectors = blocks * kVectorsPerBlock;
    const std::int64_t channel = tile * kTileColumns;
    const std::int64_t out = tile * (kTileColumns / kBlock) * job.out_block;
    ColumnTile t;
    t.block_step = job.channel_stride;
    t.lanes = job.lanes;
    t.fetch_ahead = tile == tile_begin;
    t.bias = job.epilogue.bias == nullptr ? nullptr : job.epilogue.bias + channel;
    t.output = job.output + out;
    t.out_block = job.out_block;
    t.residual = job.epilogue.residual == nullptr ? nullptr : job.epilogue.residual + out;
    t.channel = job.channel + channel;
    for (std::int64_t at = begin; at < end; at += step) {
      const std::int64_t until = smaller(at + step, end);
      for (std::int64_t pass = 0; pass < passes; ++pass) {
        const std::int64_t first = job.channels * pass / passes;
        t.depth = (job.channels * (pass + 1) / passes - first) * job.lanes;
        t.input = job.input + first * job.channel_stride;
        t.weights = job.weights + (channel * job.channels + first * kTileColumns) * job.lanes;
        const bool last = pass + 1 == passes;
        t.next = last && tile + 1 == tile_end ? nullptr : t.weights + t.depth * kTileColumns;
        t.resume = pass > 0;
        t.counted = last && counted.applies() ? &counted : nullptr;
        t.epilogue = last && in_registers && !counted.applies() ? &epilogue : nullptr;
        run_column(t, vectors, at, until);
      }
      for (std::int64_t v = 0; v < vectors && !in_registers; ++v) {
        const std::int64_t first = at * kBlock + t.column(v);
        const float* residual = t.residual == nullptr ? nullptr : t.residual + first;
        const std::int64_t channel_of = t.channel + v * kLanes;
        if (gathers)
          finish_watched(job.epilogue, {t.output + first, 1, 0, until - at, kBlock}, residual, channel_of);
        else finish_stored(epilogue, t.output + first, residual, until - at, kLanes, kBlock, channel_of);
      }
    }
  }
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
