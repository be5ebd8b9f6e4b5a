#include <memory>
#include <utility>

#include "core/aligned_memory.hpp"
#include "kernels/pool.hpp"
#include "kernels/table.hpp"
#include "ops/map_tasks.hpp"
#include "ops/pool_geometry.hpp"
#include "ops/product_lowering.hpp"

// MaxPool, AveragePool and their global forms, in whichever layout the input is.

namespace ember::ops {

namespace {

/// Planes of [N][channels or blocks][positions][lanes].
struct PoolPlan {
  kernels::PoolJob job;
  std::int64_t samples = 0;
  std::int64_t channels = 0;
  std::int64_t planes = 0;  ///< of a sample
  std::int64_t in_plane = 0;
  std::int64_t out_plane = 0;
  bool blocked = false;
};

class PoolStep final : public Step {
 public:
  PoolStep(const PoolPlan& plan, std::int64_t taps, const kernels::PoolKernels& kernels)
      : plan_(plan), kernels_(&kernels) {
    const kernels::ConvAxis* axes = plan_.job.axes;
    const std::int64_t rows = axes[0].output * axes[1].output;
    const double row_time = static_cast<double>(taps * axes[2].output) * kNanosecondsPerTap;
    const std::int64_t planes = plan_.samples * plan_.planes;
    tasks_ = MapTasks(plan_.samples, plan_.planes, rows,
                      static_cast<std::int64_t>(kTaskNanoseconds / std::max(1.0, row_time)),
                      shares_positions(plan_.channels, rows * axes[2].output));
    work_ = static_cast<std::int64_t>(row_time * static_cast<double>(rows * planes));
  }

  [[nodiscard]] std::size_t scratch_bytes(int workers) const override {
    return plan_.blocked ? 0 : line_bytes() * static_cast<std::size_t>(workers);
  }

  void run(const StepContext& context) const override {
    context.parallel.for_each(tasks_.count(), work_, [&](std::int64_t index, int worker) {
      const auto [plane, part, begin, end] = tasks_.at(index);
      kernels::PoolJob job = plan_.job;
      job.input = static_cast<const float*>(context.inputs[0]) + plane * plan_.in_plane;
      job.output = static_cast<float*>(context.outputs[0]) + plane * plan_.out_plane;
      if (plan_.blocked) {
        kernels_->blocked(job, begin, end);
      } else {
        auto* line =
            reinterpret_cast<float*>(context.scratch + line_bytes() * static_cast<std::size_t>(worker));
        kernels_->plain(job, begin, end, line);
      }
    });
  }

 private:
  static constexpr double kNanosecondsPerTap = 0.6;

  [[nodiscard]] std::size_t line_bytes() const {
    return align_up(static_cast<std::size_t>(plan_.job.axes[2].input) * sizeof(float));
  }

  PoolPlan plan_;
  const kernels::PoolKernels* kernels_;
  MapTasks tasks_;  ///< of rows
  std::int64_t work_ = 0;
};

class GlobalPoolStep final : public Step {
 public:
  GlobalPoolStep(kernels::PoolKind kind, std::int64_t planes, std::int64_t positions, std::int64_t lanes,
                 const kernels::PoolKernels& kernels)
      : kind_(kind), planes_(planes), positions_(positions), lanes_(lanes), kernels_(&kernels) {}

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    context.parallel.for_each(planes_, planes_ * positions_ * lanes_ / 10, [&](std::int64_t plane, int) {
      const float* from = x + plane * positions_ * lanes_;
      if (lanes_ == 1) y[plane] = kernels_->global_plain(kind_, from, positions_);
      else kernels_->global_blocked(kind_, from, positions_, y + plane * lanes_);
    });
  }

 private:
  kernels::PoolKind kind_;
  std::int64_t planes_, positions_, lanes_;
  const kernels::PoolKernels* kernels_;
};

/// Planes of an input in the layout it has: blocks of channels or channels.
std::int64_t planes_per_sample(const TensorDesc& x) {
  return x.layout == Layout::Blocked ? ceil_div(x.shape[1], x.block) : x.shape[1];
}

void keep_layout(const TensorDesc& x, Lowered& lowered) {
  lowered.input_layouts = {x.layout};
  lowered.output_layouts = {x.layout};
}

template <kernels::PoolKind kKind>
LowerResult consider_pool(LowerContext& c) {
  if (c.has_output(1)) return Refusal{"indices are wanted"};
  if (!all_float32(c)) return Refusal{"an element type other than float32, or nothing to pool"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  const TensorDesc& x = c.inputs[0];
  const Windows windows = pool_geometry(c, x.shape);
  PoolPlan plan;
  plan.blocked = x.layout == Layout::Blocked;
  plan.samples = x.shape[0];
  plan.channels = x.shape[1];
  plan.planes = planes_per_sample(x);
  plan.job.kind = kKind;
  plan.job.include_padding = c.integer("count_include_pad", 0) != 0;
  plan.in_plane = plan.out_plane = plan.blocked ? x.block : 1;
  for (int i = kSpatialAxes - 1; i >= 0; --i) {
    const WindowAxis& axis = windows.axes[static_cast<std::size_t>(i)];
    plan.job.axes[i] = {.input = axis.input,
                        .output = axis.output,
                        .taps = axis.kernel,
                        .in_step = axis.stride,
                        .in_offset = -axis.pad_begin,
                        .tap_step = axis.dilation,
                        .in_stride = plan.in_plane,
                        .out_stride = plan.out_plane};
    plan.job.pad_end[i] = axis.pad_end;
    plan.in_plane *= axis.input;
    plan.out_plane *= axis.output;
  }
  Lowered lowered;
  keep_layout(x, lowered);
  lowered.step = std::make_unique<PoolStep>(plan, windows.taps(), *c.kernels().pool);
  return lowered;
}

template <kernels::PoolKind kKind>
LowerResult consider_global(LowerContext& c) {
  if (!all_float32(c)) return Refusal{"an element type other than float32, or nothing to pool"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  const TensorDesc& x = c.inputs[0];
  Lowered lowered;
  keep_layout(x, lowered);
  lowered.step = std::make_unique<GlobalPoolStep>(
      kKind, x.shape[0] * planes_per_sample(x), x.shape.elements(2, x.shape.rank()),
      x.layout == Layout::Blocked ? x.block : 1, *c.kernels().pool);
  return lowered;
}

}  // namespace

void add_pool_candidates(CandidateMap& map) {
  map["MaxPool"].push_back({"max_pool", consider_pool<kernels::PoolKind::Max>});
  map["AveragePool"].push_back({"average_pool", consider_pool<kernels::PoolKind::Average>});
  map["GlobalMaxPool"].push_back({"global_max_pool", consider_global<kernels::PoolKind::Max>});
  map["GlobalAveragePool"].push_back({"global_average_pool", consider_global<kernels::PoolKind::Average>});
}

}  // namespace ember::ops
