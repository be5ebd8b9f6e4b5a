#include <algorithm>
#include <cmath>
#include <memory>

#include <fmt/format.h>

#include "kernels/elementwise.hpp"
#include "kernels/table.hpp"
#include "ops/lowering.hpp"

// Element-wise functions of one float32 input (and Not), and Pow with a constant exponent that is one.

namespace ember::ops {

namespace {

using kernels::UnaryOp;

constexpr std::int64_t kChunk = 8192;

class UnaryStep final : public Step {
 public:
  UnaryStep(const kernels::ElementwiseKernels& kernels, UnaryOp op, std::int64_t elements)
      : kernels_(&kernels), op_(op), elements_(elements) {}

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    context.parallel.for_each((elements_ + kChunk - 1) / kChunk, elements_, [&](std::int64_t task, int) {
      const std::int64_t first = task * kChunk;
      kernels_->unary(op_, x + first, y + first, std::min(kChunk, elements_ - first));
    });
  }

 private:
  const kernels::ElementwiseKernels* kernels_;
  UnaryOp op_;
  std::int64_t elements_;
};

class NotStep final : public Step {
 public:
  NotStep(const kernels::ElementwiseKernels& kernels, std::int64_t elements)
      : kernels_(&kernels), elements_(elements) {}

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const unsigned char*>(context.inputs[0]);
    auto* y = static_cast<unsigned char*>(context.outputs[0]);
    kernels_->logical_not(x, y, elements_);
  }

 private:
  const kernels::ElementwiseKernels* kernels_;
  std::int64_t elements_;
};

/// Whether f is finite for every finite argument, so that channel padding may pass through it.
bool keeps_finite(UnaryOp op) {
  using enum UnaryOp;
  switch (op) {
    case Neg:
    case Abs:
    case Sign:
    case Floor:
    case Ceil:
    case Round:
    case Sin:
    case Cos:
    case Atan:
    case Asinh:
    case Erf: return true;
    default: return false;
  }
}

LowerResult lower_function(LowerContext& c, UnaryOp op) {
  TensorDesc desc = c.inputs[0];
  if (desc.type != DataType::Float32) return Refusal{fmt::format("element type {}", to_string(desc.type))};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  if (desc.layout == Layout::Blocked && !keeps_finite(op) && desc.shape[1] % c.block() != 0)
    desc.layout = Layout::Plain;
  Lowered lowered;
  lowered.input_layouts = {desc.layout};
  lowered.output_layouts = {desc.layout};
  lowered.in_place = 0;
  lowered.step = std::make_unique<UnaryStep>(*c.kernels().elementwise, op, desc.stored_elements());
  return lowered;
}

template <UnaryOp kOp>
LowerResult lower_unary(LowerContext& c) {
  return lower_function(c, kOp);
}

LowerResult lower_not(LowerContext& c) {
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  Lowered lowered;
  lowered.in_place = 0;
  lowered.step = std::make_unique<NotStep>(*c.kernels().elementwise, c.outputs[0].shape.elements());
  return lowered;
}

LowerResult lower_constant_power(LowerContext& c) {
  const Tensor* exponent = c.constants[1];
  if (exponent == nullptr || exponent->elements() != 1 || exponent->type() != DataType::Float32)
    return Refusal{"the exponent is no float32 constant of one element"};
  if (c.inputs[0].shape != c.outputs[0].shape) return Refusal{"the base is broadcast"};
  const float value = exponent->data<float>()[0];
  if (value == 2.0F) return lower_function(c, UnaryOp::Square);
  if (value == 3.0F) return lower_function(c, UnaryOp::Cube);
  if (value == 0.5F) return lower_function(c, UnaryOp::PowHalf);
  if (value == -1.0F) return lower_function(c, UnaryOp::Reciprocal);
  return Refusal{fmt::format("exponent {}", value)};
}

}  // namespace

void add_unary_candidates(CandidateMap& map) {
  map["Neg"].push_back({"unary", lower_unary<UnaryOp::Neg>});
  map["Abs"].push_back({"unary", lower_unary<UnaryOp::Abs>});
  map["Sign"].push_back({"unary", lower_unary<UnaryOp::Sign>});
  map["Sqrt"].push_back({"unary", lower_unary<UnaryOp::Sqrt>});
  map["Exp"].push_back({"unary", lower_unary<UnaryOp::Exp>});
  map["Log"].push_back({"unary", lower_unary<UnaryOp::Log>});
  map["Floor"].push_back({"unary", lower_unary<UnaryOp::Floor>});
  map["Ceil"].push_back({"unary", lower_unary<UnaryOp::Ceil>});
  map["Round"].push_back({"unary", lower_unary<UnaryOp::Round>});
  map["Reciprocal"].push_back({"unary", lower_unary<UnaryOp::Reciprocal>});
  map["Sin"].push_back({"unary", lower_unary<UnaryOp::Sin>});
  map["Cos"].push_back({"unary", lower_unary<UnaryOp::Cos>});
  map["Tan"].push_back({"unary", lower_unary<UnaryOp::Tan>});
  map["Asin"].push_back({"unary", lower_unary<UnaryOp::Asin>});
  map["Acos"].push_back({"unary", lower_unary<UnaryOp::Acos>});
  map["Atan"].push_back({"unary", lower_unary<UnaryOp::Atan>});
  map["Sinh"].push_back({"unary", lower_unary<UnaryOp::Sinh>});
  map["Cosh"].push_back({"unary", lower_unary<UnaryOp::Cosh>});
  map["Asinh"].push_back({"unary", lower_unary<UnaryOp::Asinh>});
  map["Acosh"].push_back({"unary", lower_unary<UnaryOp::Acosh>});
  map["Atanh"].push_back({"unary", lower_unary<UnaryOp::Atanh>});
  map["Erf"].push_back({"unary", lower_unary<UnaryOp::Erf>});
  map["Not"].push_back({"unary", lower_not});
  // Before the general power.
  map["Pow"].insert(map["Pow"].begin(), {"power_by_constant", lower_constant_power});
}

}  // namespace ember::ops
