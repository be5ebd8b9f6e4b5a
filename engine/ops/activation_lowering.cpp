#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "kernels/table.hpp"
#include "ops/activation.hpp"
#include "ops/lowering.hpp"
#include "ops/typed.hpp"

// float32 activations as loops of their own, in whatever layout the input has.

namespace ember::ops {

namespace {

using kernels::Activation;
using kernels::ActivationKind;

/// Elements of one task: 64 KiB in, 64 KiB out.
constexpr std::int64_t kTaskElements = 16384;

/// Nanoseconds per element with AVX2, out of cache or in, whichever is more.
double cost_of(ActivationKind kind) {
  using enum ActivationKind;
  switch (kind) {
    case Gelu:
    case Mish:
    case Softplus:
    case Celu: return 0.7;
    case GeluTanh:
    case Silu:
    case Sigmoid:
    case Elu:
    case Selu:
    case Tanh: return 0.5;
    default: return 0.2;
  }
}

/// The same function of every element.
class ElementwiseActivation final : public Step {
 public:
  ElementwiseActivation(const Activation& activation, std::int64_t elements,
                        const kernels::KernelTable& kernels)
      : activation_(activation), elements_(elements), kernels_(*kernels.activation) {}

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    const std::int64_t tasks = (elements_ + kTaskElements - 1) / kTaskElements;
    const auto work = static_cast<std::int64_t>(cost_of(activation_.kind) * static_cast<double>(elements_));
    context.parallel.for_each(tasks, work, [&](std::int64_t task, int) {
      const std::int64_t first = task * kTaskElements;
      const std::int64_t count = std::min(kTaskElements, elements_ - first);
      kernels_.apply_channel(activation_, x + first, y + first, count, 0);
    });
  }

 private:
  Activation activation_;
  std::int64_t elements_;
  const kernels::ActivationKernels& kernels_;
};

/// PRelu with a slope per channel, over a tensor seen as groups of `rows` rows of `width` elements each.
class ChannelPRelu final : public Step {
 public:
  ChannelPRelu(const TensorDesc& input, PackedWeights slopes, const kernels::KernelTable& kernels)
      : slopes_(std::move(slopes)), channels_(input.shape[1]), kernels_(*kernels.activation) {
    const std::int64_t positions = input.shape.elements(2, input.shape.rank());
    if (input.layout == Layout::Blocked) {
      // A group is a block of channels, a row one position of it.
      groups_per_sample_ = (channels_ + input.block - 1) / input.block;
      rows_ = positions;
      width_ = input.block;
    } else if (input.shape.rank() == 2) {
      rows_ = 1;
      width_ = channels_;
    } else {
      // A group is one channel.
      groups_per_sample_ = channels_;
      one_channel_ = true;
      width_ = positions;
    }
    groups_ = input.shape[0] * groups_per_sample_;
  }

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    const Activation activation = {
        .kind = ActivationKind::PRelu, .slopes = slopes_.get(), .slope_count = channels_};
    const std::int64_t group_elements = rows_ * width_;
    const std::int64_t per_task =
        std::max<std::int64_t>(1, kTaskElements / std::max<std::int64_t>(1, group_elements));
    const std::int64_t tasks = (groups_ + per_task - 1) / per_task;
    const auto work = static_cast<std::int64_t>(cost_of(ActivationKind::PRelu) *
                                                static_cast<double>(groups_ * group_elements));
    context.parallel.for_each(tasks, work, [&](std::int64_t task, int) {
      const std::int64_t end = std::min(groups_, (task + 1) * per_task);
      for (std::int64_t group = task * per_task; group < end; ++group) {
        const std::int64_t at = group * group_elements;
        const std::int64_t within = group % groups_per_sample_;
        if (one_channel_) kernels_.apply_channel(activation, x + at, y + at, width_, within);
        else kernels_.apply_rows(activation, x + at, y + at, rows_, width_, width_, width_, within * width_);
      }
    });
  }

 private:
  PackedWeights slopes_;
  std::int64_t channels_;
  const kernels::ActivationKernels& kernels_;
  bool one_channel_ = false;
  std::int64_t groups_ = 0;
  std::int64_t groups_per_sample_ = 1;
  std::int64_t rows_ = 1;
  std::int64_t width_ = 1;
};

Lowered in_layout_of_input(const LowerContext& c, std::unique_ptr<Step> step) {
  Lowered lowered{.step = std::move(step), .in_place = 0};
  lowered.input_layouts.assign(c.inputs.size(), Layout::Plain);
  lowered.input_layouts[0] = c.inputs[0].layout;
  lowered.output_layouts = {c.inputs[0].layout};
  return lowered;
}

LowerResult elementwise(LowerContext& c) {
  if (c.inputs[0].type != DataType::Float32) return Refusal{"not float32"};
  const std::optional<Activation> activation = activation_of(c, c.constants);
  if (!activation) return Refusal{"bounds are not constant"};
  if (std::isnan(activation->alpha) || std::isnan(activation->beta)) return Refusal{"a parameter is NaN"};
  if (activation->kind == ActivationKind::Celu && activation->alpha == 0.0F) return Refusal{"alpha is 0"};
  return in_layout_of_input(
      c, std::make_unique<ElementwiseActivation>(*activation, c.inputs[0].stored_elements(), c.kernels()));
}

LowerResult prelu(LowerContext& c) {
  const TensorDesc& input = c.inputs[0];
  if (input.type != DataType::Float32) return Refusal{"not float32"};
  const Tensor* slope = c.constants[1];
  if (slope == nullptr) return Refusal{"slope is not constant"};
  const SlopeLayout layout = slope_layout(slope->shape(), input.shape.rank());
  if (layout == SlopeLayout::Other) return Refusal{"slope is neither a scalar nor one per channel"};
  const auto values = slope->data<float>();
  if (layout == SlopeLayout::Single) {
    return in_layout_of_input(c, std::make_unique<ElementwiseActivation>(
                                     Activation{.kind = ActivationKind::LeakyRelu, .alpha = values[0]},
                                     input.stored_elements(), c.kernels()));
  }
  const std::size_t padded = (values.size() + 15) / 16 * 16;
  PackedWeights slopes = c.pack(*slope, "prelu_slopes", padded, [](const Tensor& source, float* to) {
    std::ranges::copy(source.data<float>(), to);
  });
  return in_layout_of_input(c, std::make_unique<ChannelPRelu>(input, std::move(slopes), c.kernels()));
}

}  // namespace

void add_activation_candidates(CandidateMap& map) {
  for (const char* op :
       {"Celu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Relu", "Selu",
        "Sigmoid", "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu"}) {
    map[op].push_back({"activation", elementwise});
  }
  map["PRelu"].push_back({"activation", prelu});
}

}  // namespace ember::ops
