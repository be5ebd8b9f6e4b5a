#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/normalization.hpp"
#include "kernels/table.hpp"
#include "ops/lowering.hpp"

// LayerNormalization, RMSNormalization, InstanceNormalization, GroupNormalization and LRN on plain float32.

namespace ember::ops {

namespace {

/// A parameter tensor: constant (then kept here) or a step input.
struct Parameter {
  PackedWeights constant;
  std::size_t input = 0;

  [[nodiscard]] const float* of(const StepContext& context) const {
    return constant != nullptr ? constant.get() : static_cast<const float*>(context.inputs[input]);
  }
};

Parameter parameter(LowerContext& c, std::size_t i) {
  Parameter made{.constant = nullptr, .input = i};
  if (c.constants[i] == nullptr) return made;
  made.constant = keep_constant(c, *c.constants[i], "plain");
  return made;
}

std::optional<Refusal> refuse_types(const LowerContext& c) {
  for (int i = 0; i < c.input_count(); ++i) {
    const DataType type = c.inputs[static_cast<std::size_t>(i)].type;
    if (c.has_input(i) && type != DataType::Float32)
      return Refusal{fmt::format("element type {}", to_string(type))};
  }
  if (c.inputs[0].shape.elements() == 0) return Refusal{"no elements"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  return std::nullopt;
}

// ---- over trailing axes

class TrailingStep final : public Step {
 public:
  TrailingStep(const kernels::NormalizationKernels& kernels, bool centred, double epsilon, std::int64_t rows,
               std::int64_t length, Parameter scale, std::optional<Parameter> shift)
      : kernels_(&kernels),
        centred_(centred),
        epsilon_(epsilon),
        rows_(rows),
        length_(length),
        scale_(std::move(scale)),
        shift_(std::move(shift)) {}

  void run(const StepContext& context) const override {
    const std::int64_t group = std::max<std::int64_t>(1, 4096 / length_);
    context.parallel.for_each((rows_ + group - 1) / group, rows_ * length_ / 2, [&](std::int64_t task, int) {
      const std::int64_t end = std::min(rows_, (task + 1) * group);
      for (std::int64_t r = task * group; r < end; ++r) row(context, r);
    });
  }

 private:
  void row(const StepContext& context, std::int64_t r) const {
    const float* x = static_cast<const float*>(context.inputs[0]) + r * length_;
    double mean = 0;
    double variance = 0;
    if (centred_) kernels_->moments(x, length_, &mean, &variance);
    else variance = kernels_->mean_square(x, length_);
    const auto inverse = static_cast<float>(1.0 / std::sqrt(variance + epsilon_));
    const auto centre = static_cast<float>(mean);
    put(context, 1, r, centre);
    put(context, 2, r, inverse);
    if (context.outputs[0] == nullptr) return;
    float* y = static_cast<float*>(context.outputs[0]) + r * length_;
    kernels_->normalize(x, y, length_, centre, inverse, scale_.of(context),
                        shift_ ? shift_->of(context) : nullptr);
  }

  static void put(const StepContext& context, std::size_t output, std::int64_t at, float value) {
    if (output < context.outputs.size() && context.outputs[output] != nullptr)
      static_cast<float*>(context.outputs[output])[at] = value;
  }

  const kernels::NormalizationKernels* kernels_;
  bool centred_;
  double epsilon_;
  std::int64_t rows_, length_;
  Parameter scale_;
  std::optional<Parameter> shift_;
};

template <bool kCentred>
LowerResult lower_trailing(LowerContext& c) {
  if (auto refusal = refuse_types(c)) return *refusal;
  const Shape& shape = c.inputs[0].shape;
  const int axis = normalize_axis(c, c.integer("axis", -1), shape.rank());
  const std::int64_t length = shape.elements(axis, shape.rank());
  for (int i = 1; i <= 2; ++i) {
    if (c.has_input(i) && c.inputs[static_cast<std::size_t>(i)].shape.elements() != length)
      return Refusal{"scale or bias that is broadcast"};
  }
  for (const TensorDesc& output : c.outputs) {
    if (output.type != DataType::Float32 && output.type != DataType::Undefined)
      return Refusal{"statistics of another type"};
  }
  Lowered lowered;
  lowered.in_place = c.has_output(0) ? 0 : -1;
  std::optional<Parameter> shift;
  if (c.has_input(2)) shift = parameter(c, 2);
  lowered.step =
      std::make_unique<TrailingStep>(*c.kernels().normalization, kCentred, double{c.real("epsilon", 1e-5F)},
                                     shape.elements(0, axis), length, parameter(c, 1), std::move(shift));
  return lowered;
}

// ---- over groups of channels

class GroupStep final : public Step {
 public:
  GroupStep(const kernels::NormalizationKernels& kernels, double epsilon, const Shape& shape,
            std::int64_t groups, bool per_group, Parameter scale, Parameter shift)
      : kernels_(&kernels),
        epsilon_(epsilon),
        samples_(shape[0]),
        groups_(groups),
        channels_(shape[1] / groups),
        positions_(shape.elements(2, shape.rank())),
        per_group_(per_group),
        scale_(std::move(scale)),
        shift_(std::move(shift)) {}

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    const std::int64_t length = channels_ * positions_;
    const std::int64_t tasks = samples_ * groups_;
    context.parallel.for_each(tasks, tasks * length / 2, [&](std::int64_t task, int) {
      double mean = 0;
      double variance = 0;
      kernels_->moments(x + task * length, length, &mean, &variance);
      const double inverse = 1.0 / std::sqrt(variance + epsilon_);
      for (std::int64_t k = 0; k < channels_; ++k) {
        const std::int64_t group = task % groups_;
        const std::int64_t at = per_group_ ? group : group * channels_ + k;
        const double scale = inverse * double{scale_.of(context)[at]};
        const double shift = double{shift_.of(context)[at]} - mean * scale;
        const std::int64_t first = task * length + k * positions_;
        kernels_->affine(x + first, y + first, positions_, static_cast<float>(scale),
                         static_cast<float>(shift), kernels::Activation{});
      }
    });
  }

 private:
  const kernels::NormalizationKernels* kernels_;
  double epsilon_;
  std::int64_t samples_, groups_, channels_, positions_;
  bool per_group_;
  Parameter scale_, shift_;
};

LowerResult lower_groups(LowerContext& c) {
  if (auto refusal = refuse_types(c)) return *refusal;
  const Shape& shape = c.inputs[0].shape;
  const bool instance = c.op() == "InstanceNormalization";
  const std::int64_t groups = instance ? shape[1] : c.integer("num_groups", 1);
  Lowered lowered;
  lowered.in_place = 0;
  lowered.step =
      std::make_unique<GroupStep>(*c.kernels().normalization, double{c.real("epsilon", 1e-5F)}, shape, groups,
                                  c.inputs[1].shape.elements() != shape[1], parameter(c, 1), parameter(c, 2));
  return lowered;
}

// ---- LRN

class LrnStep final : public Step {
 public:
  LrnStep(const kernels::NormalizationKernels& kernels, const Shape& shape, std::int64_t size,
          const kernels::LrnWindow& window)
      : kernels_(&kernels),
        samples_(shape[0]),
        channels_(shape[1]),
        positions_(shape.elements(2, shape.rank())),
        size_(size),
        window_(window) {}

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    const std::int64_t tasks = samples_ * channels_;
    const std::int64_t work = tasks * positions_ * std::min(size_, channels_) / 4;
    context.parallel.for_each(tasks, work, [&](std::int64_t task, int) {
      const std::int64_t channel = task % channels_;
      kernels::LrnWindow window = window_;
      window.before = std::min((size_ - 1) / 2, channel);
      window.after = std::min(size_ / 2, channels_ - 1 - channel);
      kernels_->lrn(x + task * positions_, y + task * positions_, positions_, positions_, window);
    });
  }

 private:
  const kernels::NormalizationKernels* kernels_;
  std::int64_t samples_, channels_, positions_, size_;
  kernels::LrnWindow window_;
};

LowerResult lower_lrn(LowerContext& c) {
  if (auto refusal = refuse_types(c)) return *refusal;
  const std::int64_t size = c.integer("size", 1);
  const kernels::LrnWindow window = {.bias = c.real("bias", 1.0F),
                                     .factor = c.real("alpha", 1e-4F) / static_cast<float>(size),
                                     .beta = c.real("beta", 0.75F)};
  Lowered lowered;
  lowered.step = std::make_unique<LrnStep>(*c.kernels().normalization, c.inputs[0].shape, size, window);
  return lowered;
}

}  // namespace

void add_normalization_candidates(CandidateMap& map) {
  map["LayerNormalization"].push_back({"trailing_normalization", lower_trailing<true>});
  map["RMSNormalization"].push_back({"trailing_normalization", lower_trailing<false>});
  map["InstanceNormalization"].push_back({"group_normalization", lower_groups});
  map["GroupNormalization"].push_back({"group_normalization", lower_groups});
  map["LRN"].push_back({"lrn", lower_lrn});
}

}  // namespace ember::ops
