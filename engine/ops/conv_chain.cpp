#include "ops/conv_chain.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/aligned_memory.hpp"
#include "kernels/table.hpp"
#include "ops/depthwise_conv.hpp"

namespace ember::ops {

namespace {

/// Both buffers of a worker together: most of a second-level cache, which the weights pass through.
constexpr std::int64_t kBufferBytes = 640 << 10;
/// A result below this stays in the second-level cache anyway, and one call over all of it is cheaper.
constexpr std::int64_t kWorthwhileBytes = 512 << 10;

/// Fewer rows at a time read every filter too often, and move too many rows that bands share.
constexpr std::int64_t kFewestRows = 4;

struct ChainPlan {
  std::optional<DirectConvPlan> expand;
  DepthwisePlan depthwise;
  std::optional<DirectConvPlan> project;

  /// Input rows that `rows` output rows of the depthwise convolution meet at most.
  [[nodiscard]] std::int64_t in_rows(std::int64_t rows) const {
    const WindowAxis& height = depthwise.g.windows.axes[1];
    return std::min(height.input, (rows - 1) * height.stride + height.extent());
  }

  [[nodiscard]] bool watched() const {
    return depthwise.epilogue.watched() || (expand && expand->epilogue.watched()) ||
           (project && project->epilogue.watched());
  }

  /// Whether some row of the first convolution is read by no window, and so never made.
  [[nodiscard]] bool skips_rows() const {
    const WindowAxis& height = depthwise.g.windows.axes[1];
    const std::int64_t end = (height.output - 1) * height.stride - height.pad_begin + height.extent();
    return expand && (height.stride > height.extent() || height.pad_begin < 0 || end < height.input);
  }

  /// As many output rows as the buffers hold.
  [[nodiscard]] std::int64_t rows_at_once() const {
    const WindowAxis& height = depthwise.g.windows.axes[1];
    const WindowAxis& width = depthwise.g.windows.axes[2];
    const auto bytes = [&](std::int64_t rows) {
      const std::int64_t in = expand ? in_rows(rows) * width.input : 0;
      const std::int64_t out = project ? rows * width.output : 0;
      return (in + out) * depthwise.blocks() * depthwise.block * static_cast<std::int64_t>(sizeof(float));
    };
    std::int64_t rows = 1;
    while (rows < height.output && bytes(rows + 1) <= kBufferBytes) ++rows;
    return rows;
  }
};

bool is_pointwise(const ConvGeometry& g) {
  return std::ranges::all_of(g.windows.axes, [](const WindowAxis& axis) {
    return axis.kernel == 1 && axis.stride == 1 && axis.pad_begin == 0 && axis.pad_end == 0;
  });
}

/// Rows of one stage's result, as they lie in a buffer or in the real tensor.
struct RowTarget {
  float* first = nullptr;  ///< row 0 of block 0
  std::int64_t block = 0;  ///< floats between blocks of channels
};

class ConvChainStep final : public Step {
 public:
  ConvChainStep(ChainPlan plan, const kernels::KernelTable& kernels)
      : plan_(std::move(plan)), conv_(kernels.conv), block_(kernels.block) {
    const WindowAxis& height = plan_.depthwise.g.windows.axes[1];
    const WindowAxis& width = plan_.depthwise.g.windows.axes[2];
    blocks_ = plan_.depthwise.blocks();
    in_row_ = width.input * block_;
    out_row_ = width.output * block_;
    // The rows that two bands share are moved, not made twice.
    band_ = ceil_div(height.output, ceil_div(height.output, plan_.rows_at_once()));
    in_floats_ = plan_.expand ? plan_.in_rows(band_) * in_row_ * blocks_ : 0;
    out_floats_ = plan_.project ? band_ * out_row_ * blocks_ : 0;
    double flops = plan_.depthwise.g.conv_flops();
    if (plan_.expand) flops += plan_.expand->g.conv_flops();
    if (plan_.project) flops += plan_.project->g.conv_flops();
    work_ = product_nanoseconds(flops, 0.0);
  }

  [[nodiscard]] std::size_t scratch_bytes(int workers) const override {
    return static_cast<std::size_t>(workers) * worker_bytes();
  }

  void run(const StepContext& context) const override {
    const std::int64_t rows = plan_.depthwise.g.windows.axes[1].output;
    // One part per worker: every cut makes some rows twice. Where it is cut changes no sum, and so no bit;
    // but what is watched is to be met once, and in one order.
    const std::int64_t parts =
        plan_.watched() || !context.parallel.shares()
            ? 1
            : std::clamp<std::int64_t>(rows / kFewestRows, 1, context.parallel.threads());
    const std::int64_t batch = plan_.depthwise.g.batch;
    context.parallel.for_each(batch * parts, work_, [&](std::int64_t task, int worker) {
      const std::int64_t part = task % parts;
      auto* buffers =
          reinterpret_cast<float*>(context.scratch + static_cast<std::size_t>(worker) * worker_bytes());
      run_rows(context, task / parts, rows * part / parts, rows * (part + 1) / parts, buffers);
    });
  }

  /// By stage.
  [[nodiscard]] std::vector<PieceGrid> pieces() const {
    std::vector<PieceGrid> grids;
    const auto add = [&](const ConvGeometry& g) {
      grids.push_back({.samples = g.batch, .parts = 1, .blocks = piece_blocks(g.out_channels)});
    };
    if (plan_.expand) add(plan_.expand->g);
    add(plan_.depthwise.g);
    if (plan_.project) add(plan_.project->g);
    return grids;
  }

 private:
  [[nodiscard]] std::size_t worker_bytes() const {
    return align_up(static_cast<std::size_t>(in_floats_ + out_floats_) * sizeof(float));
  }

  /// Output rows [begin, end) of a sample.
  void run_rows(const StepContext& context, std::int64_t sample, std::int64_t begin, std::int64_t end,
                float* buffers) const {
    const WindowAxis& height = plan_.depthwise.g.windows.axes[1];
    const auto lowest = [&](std::int64_t row) {
      return std::clamp<std::int64_t>(row * height.stride - height.pad_begin, 0, height.input);
    };
    std::int64_t first = lowest(begin);  // input row at the start of the buffer
    std::int64_t made = first;           // input rows before this are in it
    for (std::int64_t row = begin; row < end; row += band_) {
      const std::int64_t rows = std::min(band_, end - row);
      const std::int64_t last =
          std::min(height.input, (row + rows - 1) * height.stride - height.pad_begin + height.extent());
      if (plan_.expand) {
        if (lowest(row) > first) {
          keep_rows(buffers, lowest(row) - first, std::max<std::int64_t>(0, made - lowest(row)));
          first = lowest(row);
          made = std::max(made, first);
        }
        if (last > made) expand(context, sample, made, last, buffers + (made - first) * in_row_);
        made = std::max(made, last);
      }
      depthwise(context, sample, row, rows, first, buffers);
      if (plan_.project) project(context, sample, row, rows, buffers + in_floats_);
    }
  }

  /// Moves `count` rows from row `from` of the buffer to its start.
  void keep_rows(float* buffer, std::int64_t from, std::int64_t count) const {
    if (count == 0) return;
    const std::int64_t plane = plan_.in_rows(band_) * in_row_;
    for (std::int64_t block = 0; block < blocks_; ++block) {
      std::memmove(buffer + block * plane, buffer + block * plane + from * in_row_,
                   static_cast<std::size_t>(count * in_row_) * sizeof(float));
    }
  }

  /// Rows [begin, end) of the first convolution.
  void expand(const StepContext& context, std::int64_t sample, std::int64_t begin, std::int64_t end,
              float* to) const {
    const DirectConvPlan& stage = *plan_.expand;
    const Windows& windows = stage.g.windows;
    kernels::ConvJob job = job_of(stage, 0);
    const auto* x = static_cast<const float*>(context.inputs[0]);
    job.output = to;
    job.out_block = plan_.in_rows(band_) * in_row_;
    watch(job.epilogue, stage.epilogue, context, sample * piece_blocks(stage.g.out_channels), 0);
    if (stage.plain_input) {
      job.input = x + sample * stage.g.in_channels * windows.inputs();
      job.axes[1].in_offset += begin * job.axes[1].in_step;
      job.axes[1].output = end - begin;
      run_job(job);
      return;
    }
    const std::int64_t width = windows.axes[2].input;
    const std::int64_t blocks = ceil_div(stage.g.in_channels, block_);
    job.input = x + (sample * blocks * windows.inputs() + begin * width) * block_;
    job.axes[2].input = job.axes[2].output = (end - begin) * width;
    run_job(job);
  }

  void depthwise(const StepContext& context, std::int64_t sample, std::int64_t row, std::int64_t rows,
                 std::int64_t first, float* buffers) const {
    const DepthwisePlan& stage = plan_.depthwise;
    const Windows& windows = stage.g.windows;
    const std::int64_t position = row * windows.axes[1].stride - windows.axes[1].pad_begin;
    const std::int64_t outputs = windows.outputs() * block_;
    kernels::DepthwiseJob job;
    for (int i = 0; i < kSpatialAxes; ++i) job.axes[i] = stage.phase.axes[i];
    const std::int64_t base = plan_.expand ? first : 0;
    job.axes[1].in_offset = position - base;
    job.axes[1].input = windows.axes[1].input - base;
    job.axes[1].output = rows;
    const float* in = buffers;
    std::int64_t in_plane = plan_.in_rows(band_) * in_row_;
    if (!plan_.expand) {
      in_plane = windows.inputs() * block_;
      in = static_cast<const float*>(context.inputs[0]) + sample * blocks_ * in_plane;
    }
    float* out = buffers + in_floats_;
    std::int64_t out_plane = rows * out_row_;
    const float* residual = nullptr;
    if (!plan_.project) {
      out_plane = outputs;
      const std::int64_t at = sample * blocks_ * outputs + row * out_row_;
      out = static_cast<float*>(context.outputs[0]) + at;
      if (stage.epilogue.residual) residual = static_cast<const float*>(context.inputs[1]) + at;
    }
    job.input = in;
    job.output = out;
    job.blocks = blocks_;
    job.in_block = in_plane;
    job.out_block = out_plane;
    job.weights = stage.weights.get();
    job.epilogue = product_epilogue(stage.epilogue, stage.bias.get(), residual);
    watch(job.epilogue, stage.epilogue, context, sample * piece_blocks(stage.g.out_channels),
          depthwise_stage());
    conv_->depthwise(job, 0, rows);
  }

  /// Rows of the last convolution from as many rows of the depthwise one.
  void project(const StepContext& context, std::int64_t sample, std::int64_t row, std::int64_t rows,
               const float* from) const {
    const DirectConvPlan& stage = *plan_.project;
    const std::int64_t plane = stage.g.windows.outputs() * block_;
    const std::int64_t at = sample * ceil_div(stage.g.out_channels, block_) * plane + row * out_row_;
    kernels::ConvJob job = job_of(stage, 0);
    if (stage.epilogue.residual) job.epilogue.residual = static_cast<const float*>(context.inputs[1]) + at;
    job.input = from;
    job.channel_stride = rows * out_row_;
    job.output = static_cast<float*>(context.outputs[0]) + at;
    job.out_block = plane;
    job.axes[2].input = job.axes[2].output = rows * (out_row_ / block_);
    watch(job.epilogue, stage.epilogue, context, sample * piece_blocks(stage.g.out_channels),
          depthwise_stage() + 1);
    run_job(job);
  }

  [[nodiscard]] std::size_t depthwise_stage() const { return plan_.expand ? 1 : 0; }

  /// What does not depend on the rows.
  [[nodiscard]] kernels::ConvJob job_of(const DirectConvPlan& stage, std::size_t phase) const {
    const FilterPacking& packing = stage.phases[phase].packing;
    kernels::ConvJob job;
    for (int i = 0; i < kSpatialAxes; ++i) job.axes[i] = stage.phases[phase].axes[i];
    job.channels = packing.channel_steps();
    job.lanes = packing.lanes;
    job.channel_stride = stage.g.windows.inputs() * (stage.plain_input ? 1 : block_);
    job.lane_stride = stage.plain_input && packing.lanes != 1 ? stage.g.windows.inputs() : 1;
    job.weights = stage.weights.get();
    job.blocks = ceil_div(stage.g.out_channels, block_);
    job.epilogue = product_epilogue(stage.epilogue, stage.bias.get(), nullptr);
    return job;
  }

  void run_job(const kernels::ConvJob& job) const {
    const std::int64_t strips =
        job.axes[0].output * job.axes[1].output * ceil_div(job.axes[2].output, conv_->tile.rows);
    conv_->run(job, 0, strips, 0, ceil_div(job.blocks * block_, conv_->tile.columns));
  }

  ChainPlan plan_;
  const kernels::ConvKernels* conv_;
  std::int64_t block_;
  std::int64_t blocks_ = 0;                      ///< of the depthwise convolution
  std::int64_t in_row_ = 0, out_row_ = 0;        ///< floats of a row of one block, before and after it
  std::int64_t band_ = 1;                        ///< output rows at a time
  std::int64_t in_floats_ = 0, out_floats_ = 0;  ///< of a worker's buffers
  std::int64_t work_ = 0;
};

/// A convolution before or behind the depthwise one.
std::optional<Refusal> plan_stage(LowerContext& c, bool may_be_plain, DirectConvPlan& plan) {
  if (!all_float32(c)) return Refusal{"an element type other than float32, or nothing to compute"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  if (c.constants[1] == nullptr || (c.has_input(2) && c.constants[2] == nullptr))
    return Refusal{"weights that only a run knows"};
  plan.g = conv_geometry(c, c.inputs[0].shape, c.inputs[1].shape);
  if (plan.g.groups != 1) return Refusal{"groups beside the depthwise convolution"};
  plan.block = c.block();
  plan.plain_input = may_be_plain && plan.g.in_channels < plan.block && c.inputs[0].layout == Layout::Plain;
  const bool pointwise = is_pointwise(plan.g);
  if (pointwise == plan.plain_input) return Refusal{"neither pointwise nor of few plain channels"};
  plan.phases = {conv_phase(plan.g, plan.block, c.kernels().conv->tile.columns, plan.plain_input)};
  plan.epilogue = c.epilogue;
  return std::nullopt;
}

/// Of the whole batch; of one sample where sums are gathered, which must not depend on the batch.
std::int64_t result_bytes(const LowerContext& c, bool of_sample) {
  TensorDesc result = c.outputs[0];
  if (of_sample) result.shape = result.shape.with(0, 1);
  result.layout = Layout::Blocked;
  result.block = c.block();
  return static_cast<std::int64_t>(result.bytes());
}

}  // namespace

LowerResult consider_conv_chain(std::span<LowerContext* const> stages) {
  std::int64_t between = 0;
  const bool gathers = std::ranges::any_of(stages, [](const auto* c) { return c->epilogue.watched(); });
  for (std::size_t i = 0; i + 1 < stages.size(); ++i)
    between = std::max(between, result_bytes(*stages[i], gathers));
  if (between < kWorthwhileBytes)
    return Refusal{fmt::format("{} KiB between the stages stay in the cache", between >> 10)};
  ChainPlan plan;
  std::size_t depthwise = 0;
  if (auto refusal = plan_depthwise(*stages[0], plan.depthwise)) {
    depthwise = 1;
    if (stages.size() < 2) return *std::move(refusal);
    if (auto still = plan_depthwise(*stages[1], plan.depthwise)) return *std::move(still);
    if (auto other = plan_stage(*stages[0], true, plan.expand.emplace())) return *std::move(other);
  }
  if (depthwise + 1 < stages.size()) {
    if (auto other = plan_stage(*stages[depthwise + 1], false, plan.project.emplace()))
      return *std::move(other);
  }
  const Windows& windows = plan.depthwise.g.windows;
  if (windows.axes[0].input != 1 || windows.axes[0].kernel != 1 || windows.axes[0].pad_begin != 0)
    return Refusal{"three spatial axes"};
  const std::int64_t fewest = std::min(kFewestRows, windows.axes[1].output);
  if (plan.rows_at_once() < fewest) return Refusal{fmt::format("fewer than {} rows fit the cache", fewest)};
  if (plan.watched() && plan.skips_rows()) return Refusal{"watched rows that nothing reads"};
  if (plan.expand) take_filters(*stages[0], *plan.expand);
  if (plan.project) take_filters(*stages[depthwise + 1], *plan.project);
  Lowered lowered;
  lowered.input_layouts = {plan.expand && plan.expand->plain_input ? Layout::Plain : Layout::Blocked,
                           Layout::Blocked};
  lowered.output_layouts = {Layout::Blocked};
  const bool watched = plan.watched();
  auto step = std::make_unique<ConvChainStep>(std::move(plan), stages[0]->kernels());
  if (watched) lowered.pieces = step->pieces();
  lowered.step = std::move(step);
  return lowered;
}

}  // namespace ember::ops
