#include "ops/depthwise_conv.hpp"

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "kernels/table.hpp"
#include "ops/direct_conv.hpp"
#include "ops/map_tasks.hpp"

namespace ember::ops {

namespace {

class DepthwiseStep final : public Step {
 public:
  DepthwiseStep(DepthwisePlan plan, std::size_t residual, const kernels::ConvKernels& kernels)
      : plan_(std::move(plan)), residual_(residual), kernels_(&kernels) {
    const ConvPhase& phase = plan_.phase;
    const double row_time = static_cast<double>(plan_.g.windows.taps() * phase.axes[2].output * plan_.block) *
                            2.0 / kFlopsPerNanosecond;
    const std::int64_t rows = phase.axes[0].output * phase.axes[1].output;
    const double rows_at_once = kTaskNanoseconds / std::max(1.0, row_time);
    blocks_ = Chunks(plan_.blocks(), static_cast<std::int64_t>(rows_at_once / static_cast<double>(rows)));
    tasks_ = MapTasks(
        plan_.g.batch, blocks_.parts(), rows,
        static_cast<std::int64_t>(rows_at_once / static_cast<double>(blocks_.chunk)),
        !plan_.epilogue.watched() && shares_positions(plan_.g.out_channels, plan_.g.windows.outputs()));
    work_ = static_cast<std::int64_t>(row_time * static_cast<double>(plan_.g.batch * plan_.blocks() * rows));
  }

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    const auto* residual =
        plan_.epilogue.residual ? static_cast<const float*>(context.inputs[residual_]) : nullptr;
    auto* y = static_cast<float*>(context.outputs[0]);
    const Windows& windows = plan_.g.windows;
    const std::int64_t block = plan_.block;
    // Where rows are cut changes no sum; but what is watched is added up by parts.
    const bool whole = !context.parallel.shares() && !plan_.epilogue.watched();
    const MapTasks tasks = whole ? tasks_.whole() : tasks_;
    context.parallel.for_each(tasks.count(), work_, [&](std::int64_t index, int) {
      const auto [planes, part, begin, end] = tasks.at(index);
      const std::int64_t sample = planes / blocks_.parts();
      const std::int64_t first = blocks_.begin(planes % blocks_.parts());
      const std::int64_t plane = sample * plan_.blocks() + first;
      const std::int64_t out = plane * windows.outputs() * block;
      kernels::DepthwiseJob job;
      for (int i = 0; i < kSpatialAxes; ++i) job.axes[i] = plan_.phase.axes[i];
      job.blocks = blocks_.end(planes % blocks_.parts()) - first;
      job.in_block = windows.inputs() * block;
      job.out_block = windows.outputs() * block;
      job.input = x + plane * job.in_block;
      job.weights = plan_.weights.get() + first * windows.taps() * block;
      job.output = y + out;
      job.channel = first * block;
      job.epilogue = product_epilogue(plan_.epilogue, plan_.bias ? plan_.bias.get() + job.channel : nullptr,
                                      residual == nullptr ? nullptr : residual + out);
      watch(job.epilogue, plan_.epilogue, context,
            (sample * tasks.parts() + part) * piece_blocks(plan_.g.out_channels));
      kernels_->depthwise(job, begin, end);
    });
  }

  [[nodiscard]] PieceGrid pieces() const {
    return {.samples = plan_.g.batch, .parts = tasks_.parts(), .blocks = piece_blocks(plan_.g.out_channels)};
  }

 private:
  static constexpr double kFlopsPerNanosecond = 20.0;

  DepthwisePlan plan_;
  std::size_t residual_;
  const kernels::ConvKernels* kernels_;
  Chunks blocks_;   ///< of a task
  MapTasks tasks_;  ///< on rows of so many blocks
  std::int64_t work_ = 0;
};

/// [blocks][taps][block] from [channels][1][taps].
void pack_depthwise(const ConvGeometry& g, std::int64_t block, const float* filters, float* to) {
  const std::int64_t taps = g.windows.taps();
  for (std::int64_t c = 0; c < g.out_channels; ++c) {
    for (std::int64_t t = 0; t < taps; ++t)
      to[(c / block * taps + t) * block + c % block] = filters[c * taps + t];
  }
}

}  // namespace

std::optional<Refusal> plan_depthwise(LowerContext& c, DepthwisePlan& plan) {
  if (!all_float32(c)) return Refusal{"an element type other than float32, or nothing to compute"};
  plan.g = conv_geometry(c, c.inputs[0].shape, c.inputs[1].shape);
  const ConvGeometry& g = plan.g;
  if (g.in_per_group() != 1 || g.out_per_group() != 1 || g.groups == 1) return Refusal{"not depthwise"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  if (c.constants[1] == nullptr || (c.has_input(2) && c.constants[2] == nullptr))
    return Refusal{"weights that only a run knows"};
  const std::int64_t block = c.block();
  plan.block = block;
  plan.phase = conv_phase(g, block, block, false);
  plan.epilogue = c.epilogue;
  const auto padded = static_cast<std::size_t>(plan.blocks() * block);
  plan.weights = c.pack(*c.constants[1], fmt::format("depthwise {}", block),
                        padded * static_cast<std::size_t>(g.windows.taps()),
                        [g, block](const Tensor& source, float* to) {
                          pack_depthwise(g, block, source.data<float>().data(), to);
                        });
  if (c.has_input(2)) {
    plan.bias = c.pack(*c.constants[2], fmt::format("depthwise bias {}", block), padded,
                       [](const Tensor& source, float* to) { std::ranges::copy(source.data<float>(), to); });
  }
  return std::nullopt;
}

LowerResult consider_depthwise_conv(LowerContext& c) {
  DepthwisePlan plan;
  if (auto refusal = plan_depthwise(c, plan)) return *std::move(refusal);
  Lowered lowered;
  lowered.input_layouts.assign(c.inputs.size(), Layout::Plain);
  lowered.input_layouts[0] = Layout::Blocked;
  if (c.epilogue.residual) lowered.input_layouts.back() = Layout::Blocked;
  lowered.output_layouts = {Layout::Blocked};
  const bool watched = c.epilogue.watched();
  auto step = std::make_unique<DepthwiseStep>(std::move(plan), c.inputs.size() - 1, *c.kernels().conv);
  if (watched) lowered.pieces = {step->pieces()};
  lowered.step = std::move(step);
  return lowered;
}

}  // namespace ember::ops
