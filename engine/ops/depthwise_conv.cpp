#include "ops/depthwise_conv.hpp"

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "kernels/table.hpp"
#include "ops/direct_conv.hpp"

namespace ember::ops {

namespace {

class DepthwiseStep final : public Step {
 public:
  DepthwiseStep(const ConvGeometry& g, std::int64_t block, PackedWeights weights, PackedWeights bias,
                const Epilogue& epilogue, std::size_t residual, const kernels::ConvKernels& kernels)
      : g_(g),
        block_(block),
        blocks_(ceil_div(g.out_channels, block)),
        phase_(conv_phase(g, block, block, false)),
        weights_(std::move(weights)),
        bias_(std::move(bias)),
        epilogue_(epilogue),
        residual_(residual),
        kernels_(&kernels) {
    const double row_time =
        static_cast<double>(g.windows.taps() * phase_.axes[2].output * block) * 2.0 / kFlopsPerNanosecond;
    const std::int64_t rows = phase_.axes[0].output * phase_.axes[1].output;
    rows_ = Chunks(rows, static_cast<std::int64_t>(kTaskNanoseconds / std::max(1.0, row_time)));
    work_ = static_cast<std::int64_t>(row_time * static_cast<double>(g.batch * blocks_ * rows));
  }

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    const auto* residual =
        epilogue_.residual ? static_cast<const float*>(context.inputs[residual_]) : nullptr;
    auto* y = static_cast<float*>(context.outputs[0]);
    const std::int64_t parts = rows_.parts();
    context.parallel.for_each(g_.batch * blocks_ * parts, work_, [&](std::int64_t task, int) {
      const std::int64_t plane = task / parts;
      const std::int64_t block = plane % blocks_;
      const std::int64_t out = plane * g_.windows.outputs() * block_;
      kernels::DepthwiseJob job;
      for (int i = 0; i < kSpatialAxes; ++i) job.axes[i] = phase_.axes[i];
      job.input = x + plane * g_.windows.inputs() * block_;
      job.weights = weights_.get() + block * g_.windows.taps() * block_;
      job.output = y + out;
      job.channel = block * block_;
      job.epilogue = product_epilogue(epilogue_, bias_ ? bias_.get() + block * block_ : nullptr,
                                      residual == nullptr ? nullptr : residual + out);
      kernels_->depthwise(job, rows_.begin(task % parts), rows_.end(task % parts));
    });
  }

 private:
  static constexpr double kFlopsPerNanosecond = 20.0;

  ConvGeometry g_;
  std::int64_t block_;
  std::int64_t blocks_;
  ConvPhase phase_;
  PackedWeights weights_, bias_;
  Epilogue epilogue_;
  std::size_t residual_;
  const kernels::ConvKernels* kernels_;
  Chunks rows_;
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

LowerResult consider_depthwise_conv(LowerContext& c) {
  if (!all_float32(c)) return Refusal{"an element type other than float32, or nothing to compute"};
  const ConvGeometry g = conv_geometry(c, c.inputs[0].shape, c.inputs[1].shape);
  if (g.in_per_group() != 1 || g.out_per_group() != 1 || g.groups == 1) return Refusal{"not depthwise"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  if (c.constants[1] == nullptr || (c.has_input(2) && c.constants[2] == nullptr))
    return Refusal{"weights that only a run knows"};
  const std::int64_t block = c.block();
  const std::int64_t padded = ceil_div(g.out_channels, block) * block;
  PackedWeights weights = c.pack(*c.constants[1], fmt::format("depthwise {}", block),
                                 static_cast<std::size_t>(padded * g.windows.taps()), [&](float* to) {
                                   pack_depthwise(g, block, c.constants[1]->data<float>().data(), to);
                                 });
  PackedWeights bias;
  if (c.has_input(2)) {
    bias = c.pack(*c.constants[2], fmt::format("depthwise bias {}", block), static_cast<std::size_t>(padded),
                  [&](float* to) { std::ranges::copy(c.constants[2]->data<float>(), to); });
  }
  Lowered lowered;
  lowered.input_layouts.assign(c.inputs.size(), Layout::Plain);
  lowered.input_layouts[0] = Layout::Blocked;
  if (c.epilogue.residual) lowered.input_layouts.back() = Layout::Blocked;
  lowered.output_layouts = {Layout::Blocked};
  lowered.step = std::make_unique<DepthwiseStep>(g, block, std::move(weights), std::move(bias), c.epilogue,
                                                 c.inputs.size() - 1, *c.kernels().conv);
  return lowered;
}

}  // namespace ember::ops
