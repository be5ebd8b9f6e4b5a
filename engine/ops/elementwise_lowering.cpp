#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/elementwise.hpp"
#include "kernels/table.hpp"
#include "ops/operand_plan.hpp"
#include "ops/tile_loops.hpp"

// Arithmetic with broadcasting on float32, plain or blocked.

namespace ember::ops {

namespace {

using kernels::BinaryOp;

/// y = activation(scale · (x0 op x1 op x2 …))
class BinaryStep final : public Step {
 public:
  BinaryStep(const kernels::ElementwiseKernels& kernels, BinaryOp op, const OperandPlan& plan,
             const Epilogue& epilogue, float scale)
      : kernels_(&kernels),
        op_(op),
        constants_(plan.constants),
        loops_(plan.loops()),
        activation_(epilogue.before),
        slopes_(epilogue.slopes_before),
        scale_(scale) {}

  void run(const StepContext& context) const override {
    const double cost = op_ == BinaryOp::Pow ? 4.0 : 0.1 * static_cast<double>(constants_.size());
    loops_.run(context.parallel, cost, [&](const TileLoops::Span& span) { tile(context, span); });
  }

 private:
  [[nodiscard]] const float* operand(const StepContext& context, std::size_t k,
                                     const TileLoops::Span& span) const {
    const void* from = constants_[k] != nullptr ? constants_[k].get() : context.inputs[k];
    return static_cast<const float*>(from) + span.in[k];
  }

  void tile(const StepContext& context, const TileLoops::Span& span) const {
    float* y = static_cast<float*>(context.outputs[0]) + span.out;
    const std::int64_t elements = span.rows * span.width;
    const std::size_t count = constants_.size();
    kernels::Tile t{.out = y, .rows = span.rows, .width = span.width};
    set(t, 0, operand(context, 0, span), 0);
    for (std::size_t k = 1; k < count; ++k) {
      set(t, 1, operand(context, k, span), static_cast<int>(k));
      const bool last = k + 1 == count && scale_ == 1.0F;
      kernels_->binary(op_, t, last ? activation_ : kernels::Activation{});
      t.in[0] = y;
      t.row_step[0] = span.width;
      t.repeats[0] = false;
    }
    if (scale_ != 1.0F) kernels_->scale(y, y, elements, scale_);
  }

  void set(kernels::Tile& t, int slot, const float* from, int k) const {
    t.in[slot] = from;
    t.row_step[slot] = loops_.row_step(k);
    t.repeats[slot] = loops_.repeats(k);
  }

  const kernels::ElementwiseKernels* kernels_;
  BinaryOp op_;
  std::vector<std::shared_ptr<const void>> constants_;
  TileLoops loops_;
  kernels::Activation activation_;
  std::shared_ptr<const std::vector<float>> slopes_;
  float scale_;
};

bool per_channel(const kernels::Activation& activation) {
  return activation.kind == kernels::ActivationKind::PRelu && activation.slope_count != 1;
}

/// Whether channel padding stays finite: a quotient's does not where the divisor's is zero.
PaddingRule padding_rule(BinaryOp op) {
  if (op == BinaryOp::Div) return PaddingRule::ConstantDivisor;
  return op == BinaryOp::Pow ? PaddingRule::NoPadding : PaddingRule::Any;
}

template <BinaryOp kOp>
LowerResult lower_binary(LowerContext& c) {
  if (c.input_count() < 2) return Refusal{"a single input"};
  if (per_channel(c.epilogue.before)) return Refusal{"a PRelu slope per channel behind it"};
  OperandPlan plan;
  if (auto refusal = plan_operands(c, DataType::Float32, padding_rule(kOp), plan)) return *refusal;
  const bool mean = c.op() == "Mean";
  if (mean && !c.epilogue.empty()) return Refusal{"an activation behind it"};
  const float scale = mean ? 1.0F / static_cast<float>(c.input_count()) : 1.0F;
  Lowered lowered = plan.lowered();
  // Later inputs are read after the first result of a tile was written.
  if (c.input_count() > 2 && lowered.in_place > 1) lowered.in_place = -1;
  lowered.step = std::make_unique<BinaryStep>(*c.kernels().elementwise, kOp, plan, c.epilogue, scale);
  return lowered;
}

}  // namespace

void add_elementwise_candidates(CandidateMap& map) {
  map["Add"].push_back({"elementwise", lower_binary<BinaryOp::Add>});
  map["Sub"].push_back({"elementwise", lower_binary<BinaryOp::Sub>});
  map["Mul"].push_back({"elementwise", lower_binary<BinaryOp::Mul>});
  map["Div"].push_back({"elementwise", lower_binary<BinaryOp::Div>});
  map["Pow"].push_back({"elementwise", lower_binary<BinaryOp::Pow>});
  map["Min"].push_back({"elementwise", lower_binary<BinaryOp::Min>});
  map["Max"].push_back({"elementwise", lower_binary<BinaryOp::Max>});
  map["Sum"].push_back({"elementwise", lower_binary<BinaryOp::Add>});
  map["Mean"].push_back({"elementwise", lower_binary<BinaryOp::Add>});
}

}  // namespace ember::ops
