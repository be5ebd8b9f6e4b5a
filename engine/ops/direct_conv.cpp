#include "ops/direct_conv.hpp"

#include <utility>

#include "core/aligned_memory.hpp"
#include "kernels/table.hpp"
#include "ops/map_tasks.hpp"

namespace ember::ops {

namespace {

std::size_t floats(std::int64_t count) { return align_up(static_cast<std::size_t>(count) * sizeof(float)); }

/// Input positions that some tap meets: strides may pass over the others.
std::int64_t positions_read(const ConvGeometry& g) {
  std::int64_t positions = 1;
  for (const WindowAxis& axis : g.windows.axes)
    positions *= std::min(axis.input, axis.output * std::min(axis.kernel, axis.stride));
  return positions;
}

/// How a phase is cut into tasks.
struct PhaseSplit {
  EqualParts strips;
  EqualParts by_input;  ///< strips for a thread that shares with none, with all tiles; watched: `strips`
  Chunks tiles;
  std::int64_t work = 0;

  /// What is watched is added up by strips: each costs, and they depend on neither threads nor batch.
  PhaseSplit(const ConvGeometry& g, const ConvPhase& phase, const kernels::ProductTile& tile, bool watched) {
    const FilterPacking& p = phase.packing;
    const std::int64_t per_row = ceil_div(phase.axes[2].output, tile.rows);
    const std::int64_t count = phase.axes[0].output * phase.axes[1].output * per_row;
    const auto taps = static_cast<double>(p.taps[0].count * p.taps[1].count * p.taps[2].count);
    const double strip_tile = 2.0 * taps * static_cast<double>(p.in_per_group * p.columns * tile.rows);
    // The input of a task should stay in L2 while one tile of filters after the other passes over it: all of
    // it where that fits, since filters which L2 does not hold come anew for every task.
    constexpr double kInputBytes = 128e3;
    constexpr double kWholeInputBytes = 512e3;
    constexpr double kFarFilterBytes = 1e6;
    const double bytes = 4.0 * static_cast<double>(g.in_per_group() * positions_read(g));
    const double strip_bytes = bytes / static_cast<double>(std::max<std::int64_t>(1, count));
    const bool whole = bytes <= kWholeInputBytes && 4.0 * static_cast<double>(p.size()) > kFarFilterBytes;
    const double input_bytes = whole ? kWholeInputBytes : kInputBytes;
    const auto input_strips = static_cast<std::int64_t>(input_bytes / std::max(1.0, strip_bytes));
    by_input = EqualParts(count, input_strips);
    strips = by_input;
    const double filter_bytes = 4.0 * static_cast<double>(p.size());
    const double strip_time = strip_tile * static_cast<double>(p.tiles()) / 50.0;
    const std::int64_t jobs = p.groups * g.batch;
    double parts = 1.0;
    const bool by_position = shares_positions(g.out_channels, g.windows.outputs()) || p.tiles() == 1;
    if (by_position && !watched) {
      // Every part reads the filters again.
      const double most = std::clamp(512e3 / filter_bytes, 2.0, 8.0) / static_cast<double>(jobs);
      const double wanted = std::min(most, strip_time * static_cast<double>(count) / kTaskNanoseconds);
      strips = EqualParts(count, std::min(input_strips, static_cast<std::int64_t>(static_cast<double>(count) /
                                                                                  std::max(1.0, wanted))));
    } else {
      // Filters are split only where strips alone make too few tasks: every part reads the input again.
      constexpr double kEnoughTasks = 16.0;
      parts = std::min(kEnoughTasks / static_cast<double>(strips.parts() * jobs),
                       4.0 * strip_time * static_cast<double>(strips.length()) / kTaskNanoseconds);
    }
    tiles =
        Chunks(p.tiles(), static_cast<std::int64_t>(static_cast<double>(p.tiles()) / std::max(1.0, parts)));
    work = product_nanoseconds(strip_tile * static_cast<double>(count * p.tiles() * jobs),
                               4.0 * static_cast<double>(p.size()));
  }
};

class DirectConvStep final : public Step {
 public:
  DirectConvStep(DirectConvPlan plan, const kernels::KernelTable& kernels)
      : plan_(std::move(plan)), conv_(kernels.conv), layout_(kernels.layout) {
    const ConvGeometry& g = plan_.g;
    in_blocks_ = ceil_div(g.in_per_group(), plan_.block);
    out_blocks_ = ceil_div(g.out_per_group(), plan_.block);
    piece_blocks_ = piece_blocks(g.out_channels);
    for (const ConvPhase& phase : plan_.phases)
      splits_.emplace_back(g, phase, conv_->tile, plan_.epilogue.watched());
  }

  [[nodiscard]] std::size_t scratch_bytes(int workers) const override {
    (void)workers;
    return bias_at() + (plan_.runtime_bias ? floats(plan_.bias_floats()) : 0);
  }

  void run(const StepContext& context) const override {
    Operands operands = operands_of(context);
    for (std::size_t i = 0; i < plan_.phases.size(); ++i) run_phase(context, operands, i);
    if (plan_.plain_output) write_plain(context, operands.output);
  }

 private:
  struct Operands {
    const float* input = nullptr;
    const float* weights = nullptr;
    const float* bias = nullptr;
    const float* residual = nullptr;
    float* output = nullptr;
  };

  // Scratch: the blocked output where the real one is plain, packed weights, packed bias.
  [[nodiscard]] std::size_t weights_at() const {
    return plan_.plain_output ? floats(plan_.g.batch * group_output() * plan_.g.groups) : 0;
  }
  [[nodiscard]] std::size_t bias_at() const {
    return weights_at() + (plan_.weights ? 0 : floats(plan_.weight_floats()));
  }
  /// Floats of one group of one sample in the kernel's output.
  [[nodiscard]] std::int64_t group_output() const {
    return out_blocks_ * plan_.g.windows.outputs() * plan_.block;
  }

  [[nodiscard]] Operands operands_of(const StepContext& context) const {
    Operands operands{.input = plan_.constant_input ? plan_.constant_input.get()
                                                    : static_cast<const float*>(context.inputs[0]),
                      .weights = plan_.weights.get(),
                      .bias = plan_.bias.get()};
    operands.output = plan_.plain_output ? reinterpret_cast<float*>(context.scratch)
                                         : static_cast<float*>(context.outputs[0]);
    if (plan_.epilogue.residual)
      operands.residual = static_cast<const float*>(context.inputs[plan_.residual]);
    if (operands.weights == nullptr) {
      auto* packed = reinterpret_cast<float*>(context.scratch + weights_at());
      for (const ConvPhase& phase : plan_.phases)
        pack_filters(phase.packing, static_cast<const float*>(context.inputs[1]), packed + phase.weights);
      operands.weights = packed;
    }
    if (plan_.runtime_bias) {
      auto* packed = reinterpret_cast<float*>(context.scratch + bias_at());
      pack_bias(plan_.phases.front().packing, static_cast<const float*>(context.inputs[2]), packed);
      operands.bias = packed;
    }
    return operands;
  }

  void run_phase(const StepContext& context, const Operands& operands, std::size_t index) const {
    const ConvPhase& phase = plan_.phases[index];
    const PhaseSplit& split = splits_[index];
    if (split.strips.count() == 0) return;
    const bool alone = !context.parallel.shares();  // where strips and tiles are cut changes no sum
    const EqualParts& strips = alone ? split.by_input : split.strips;
    const Chunks tiles = alone ? Chunks(split.tiles.count, split.tiles.count) : split.tiles;
    const std::int64_t strip_parts = strips.parts();
    const std::int64_t parts = strip_parts * tiles.parts();
    context.parallel.for_each(
        plan_.g.batch * plan_.g.groups * parts, split.work, [&](std::int64_t task, int) {
          const std::int64_t strip = task % strip_parts;
          const std::int64_t tile = task % parts / strip_parts;
          kernels::ConvJob job = job_of(phase, operands, task / parts);
          const std::int64_t sample = task / (parts * plan_.g.groups);
          watch(job.epilogue, plan_.epilogue, context, (sample * strip_parts + strip) * piece_blocks_);
          conv_->run(job, strips.begin(strip), strips.end(strip), tiles.begin(tile), tiles.end(tile));
        });
  }

  /// The job of group `index % groups` of sample `index / groups`.
  [[nodiscard]] kernels::ConvJob job_of(const ConvPhase& phase, const Operands& operands,
                                        std::int64_t index) const {
    const ConvGeometry& g = plan_.g;
    const std::int64_t group = index % g.groups;
    const FilterPacking& p = phase.packing;
    const std::int64_t inputs = g.windows.inputs();
    const std::int64_t out = index * group_output() + phase.output;
    kernels::ConvJob job;
    for (int i = 0; i < kSpatialAxes; ++i) job.axes[i] = phase.axes[i];
    job.channels = p.channel_steps();
    job.lanes = p.lanes;
    if (plan_.plain_input) {
      job.channel_stride = inputs;
      job.lane_stride = p.lanes == 1 ? 1 : inputs;
      job.input = operands.input + index * g.in_per_group() * inputs;
    } else {
      job.channel_stride = inputs * plan_.block;
      job.input = operands.input + index * in_blocks_ * inputs * plan_.block;
    }
    job.weights = operands.weights + phase.weights + group * p.group_size();
    job.output = operands.output + out;
    job.blocks = out_blocks_;
    job.out_block = g.windows.outputs() * plan_.block;
    job.channel = group * g.out_per_group();
    const float* bias = operands.bias == nullptr ? nullptr : operands.bias + group * p.tiles() * p.columns;
    if (plan_.plain_output) job.epilogue.bias = bias;
    else
      job.epilogue = product_epilogue(plan_.epilogue, bias,
                                      operands.residual == nullptr ? nullptr : operands.residual + out);
    return job;
  }

  /// From the kernel's blocks to the plain output, with the epilogue.
  void write_plain(const StepContext& context, const float* blocked) const {
    const ConvGeometry& g = plan_.g;
    const std::int64_t outputs = g.windows.outputs();
    const auto* residual =
        plan_.epilogue.residual ? static_cast<const float*>(context.inputs[plan_.residual]) : nullptr;
    auto* y = static_cast<float*>(context.outputs[0]);
    const std::int64_t tasks = g.batch * g.groups * out_blocks_;
    context.parallel.for_each(tasks, g.batch * g.out_channels * outputs, [&](std::int64_t task, int) {
      const std::int64_t first = task % out_blocks_ * plan_.block;
      const std::int64_t channels = std::min(plan_.block, g.out_per_group() - first);
      const std::int64_t plane = task / out_blocks_ * g.out_per_group() + first;
      layout_->to_plain(blocked + task * outputs * plan_.block, channels, outputs, y + plane * outputs,
                        outputs);
      if (plan_.epilogue.empty()) return;
      for (std::int64_t c = plane; c < plane + channels; ++c) {
        layout_->finish_channel(y + c * outputs, residual == nullptr ? nullptr : residual + c * outputs,
                                outputs, c % g.out_channels, plan_.epilogue.before, plan_.epilogue.after);
      }
    });
  }

  DirectConvPlan plan_;
  const kernels::ConvKernels* conv_;
  const kernels::LayoutKernels* layout_;
  std::vector<PhaseSplit> splits_;
  std::int64_t in_blocks_ = 0;
  std::int64_t out_blocks_ = 0;
  std::int64_t piece_blocks_ = 0;
};

}  // namespace

std::optional<PieceGrid> direct_conv_pieces(const DirectConvPlan& plan, const kernels::KernelTable& kernels) {
  // The kernel wants a sample's outputs without gaps.
  if (plan.plain_output || plan.phases.size() != 1) return std::nullopt;
  return PieceGrid{.samples = plan.g.batch,
                   .parts = PhaseSplit(plan.g, plan.phases.front(), kernels.conv->tile, true).strips.parts(),
                   .blocks = piece_blocks(plan.g.out_channels)};
}

std::unique_ptr<Step> make_direct_conv(DirectConvPlan plan, const kernels::KernelTable& kernels) {
  return std::make_unique<DirectConvStep>(std::move(plan), kernels);
}

}  // namespace ember::ops
