#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/normalization.hpp"
#include "kernels/table.hpp"
#include "ops/lowering.hpp"

// BatchNormalization with constant parameters: a scale and a shift per channel, then an activation.

namespace ember::ops {

namespace {

/// Scale and shift per channel, padded with zeros to whole blocks.
struct Affine {
  std::vector<float> scale, shift;
};

Affine affine_of(const LowerContext& c, std::int64_t channels) {
  const double epsilon = double{c.real("epsilon", 1e-5F)};
  const auto padded = static_cast<std::size_t>((channels + c.block() - 1) / c.block() * c.block());
  Affine affine{.scale = std::vector<float>(padded), .shift = std::vector<float>(padded)};
  const auto parameter = [&](std::size_t input, std::size_t channel) {
    return double{c.constants[input]->data<float>()[channel]};
  };
  for (std::size_t i = 0; i < static_cast<std::size_t>(channels); ++i) {
    const double scale = parameter(1, i) / std::sqrt(parameter(4, i) + epsilon);
    affine.scale[i] = static_cast<float>(scale);
    affine.shift[i] = static_cast<float>(parameter(2, i) - parameter(3, i) * scale);
  }
  return affine;
}

/// Per channel a row of `positions` (plain), or `positions` rows of neighbouring channels (blocked, and
/// matrices, whose channels are their columns).
class AffineStep final : public Step {
 public:
  AffineStep(const kernels::KernelTable& kernels, const TensorDesc& desc, Affine affine,
             const Epilogue& epilogue)
      : kernels_(&kernels),
        affine_(std::move(affine)),
        activation_(epilogue.before),
        slopes_(epilogue.slopes_before) {
    const Shape& shape = desc.shape;
    const bool matrix = shape.rank() == 2;
    across_ = matrix || desc.layout == Layout::Blocked;
    width_ = matrix ? shape[1] : desc.layout == Layout::Blocked ? desc.block : 1;
    positions_ = matrix ? shape[0] : shape.elements(2, shape.rank());
    groups_ = matrix ? 1 : (shape[1] + width_ - 1) / width_;
    samples_ = matrix ? 1 : shape[0];
    // Long runs of positions are cut so that threads can share them and a piece stays in the cache.
    chunk_ = std::clamp<std::int64_t>(kTaskElements / width_, 1, positions_);
    chunks_ = (positions_ + chunk_ - 1) / chunk_;
  }

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    const std::int64_t units = samples_ * groups_ * chunks_;
    const std::int64_t per_task = std::max<std::int64_t>(1, kTaskElements / (chunk_ * width_));
    const std::int64_t work = samples_ * groups_ * positions_ * width_ / 8;
    context.parallel.for_each((units + per_task - 1) / per_task, work, [&](std::int64_t task, int) {
      const std::int64_t end = std::min(units, (task + 1) * per_task);
      for (std::int64_t unit = task * per_task; unit < end; ++unit) {
        const std::int64_t position = unit % chunks_ * chunk_;
        const std::int64_t at = (unit / chunks_ * positions_ + position) * width_;
        piece(x + at, y + at, std::min(chunk_, positions_ - position), unit / chunks_ % groups_ * width_);
      }
    });
  }

 private:
  static constexpr std::int64_t kTaskElements = 8192;

  void piece(const float* x, float* y, std::int64_t positions, std::int64_t channel) const {
    using enum kernels::ActivationKind;
    const float* scale = affine_.scale.data() + channel;
    const float* shift = affine_.shift.data() + channel;
    if (across_) kernels_->normalization->affine_rows(x, y, positions, width_, scale, shift, activation_);
    else kernels_->normalization->affine(x, y, positions, *scale, *shift, activation_);
    if (activation_.kind == None || activation_.kind == Relu || activation_.kind == Clip) return;
    const auto& activation = *kernels_->activation;
    if (across_) activation.apply_rows(activation_, y, y, positions, width_, width_, width_, channel);
    else activation.apply_channel(activation_, y, y, positions, channel);
  }

  const kernels::KernelTable* kernels_;
  Affine affine_;
  kernels::Activation activation_;
  std::shared_ptr<const std::vector<float>> slopes_;
  bool across_;
  std::int64_t width_, positions_, groups_, samples_, chunk_, chunks_;
};

LowerResult lower_batch_normalization(LowerContext& c) {
  const TensorDesc& input = c.inputs[0];
  if (input.type != DataType::Float32) return Refusal{fmt::format("element type {}", to_string(input.type))};
  if (input.shape.rank() < 2) return Refusal{"rank below 2"};
  if (input.shape.elements() == 0) return Refusal{"no elements"};
  for (std::size_t i = 1; i <= 4; ++i) {
    if (c.constants[i] == nullptr) return Refusal{"computed parameters"};
    if (c.constants[i]->type() != DataType::Float32) return Refusal{"parameters of another type"};
  }
  Lowered lowered;
  lowered.input_layouts = {input.layout};
  lowered.output_layouts = {input.layout};
  lowered.in_place = 0;
  lowered.step = std::make_unique<AffineStep>(c.kernels(), input, affine_of(c, input.shape[1]), c.epilogue);
  return lowered;
}

}  // namespace

void add_batch_normalization_candidates(CandidateMap& map) {
  map["BatchNormalization"].push_back({"scale_shift", lower_batch_normalization});
}

}  // namespace ember::ops
