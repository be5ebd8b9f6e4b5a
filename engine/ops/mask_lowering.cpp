#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/elementwise.hpp"
#include "kernels/table.hpp"
#include "ops/operand_plan.hpp"
#include "ops/tile_loops.hpp"

// Comparison of float32, logic on bool, and Where: plain layout, any broadcasting.

namespace ember::ops {

namespace {

using kernels::CompareOp;
using kernels::LogicOp;

/// Calls a kernel for each tile with all operands in place.
template <class Kernel>
class MaskStep final : public Step {
 public:
  MaskStep(Kernel kernel, const OperandPlan& plan)
      : kernel_(std::move(kernel)), constants_(plan.constants), loops_(plan.loops()) {
    out_size_ = static_cast<std::int64_t>(size_of(plan.result.type));
    for (const TensorDesc& operand : plan.operands)
      sizes_.push_back(static_cast<std::int64_t>(size_of(operand.type)));
  }

  void run(const StepContext& context) const override {
    loops_.run(context.parallel, 0.3, [&](const TileLoops::Span& span) {
      kernels::Tile t{.out = static_cast<std::byte*>(context.outputs[0]) + span.out * out_size_,
                      .rows = span.rows,
                      .width = span.width};
      for (std::size_t k = 0; k < constants_.size(); ++k) {
        const void* from = constants_[k] != nullptr ? constants_[k].get() : context.inputs[k];
        t.in[k] = static_cast<const std::byte*>(from) + span.in[k] * sizes_[k];
        t.row_step[k] = loops_.row_step(static_cast<int>(k));
        t.repeats[k] = loops_.repeats(static_cast<int>(k));
      }
      kernel_(t);
    });
  }

 private:
  Kernel kernel_;
  std::vector<std::shared_ptr<const void>> constants_;
  TileLoops loops_;
  std::vector<std::int64_t> sizes_;
  std::int64_t out_size_;
};

template <class Kernel>
LowerResult lower_mask(LowerContext& c, DataType type, Kernel kernel) {
  OperandPlan plan;
  if (auto refusal = plan_operands(c, type, PaddingRule::Never, plan)) return *refusal;
  Lowered lowered = plan.lowered();
  lowered.step = std::make_unique<MaskStep<Kernel>>(std::move(kernel), plan);
  return lowered;
}

template <CompareOp kOp>
LowerResult lower_compare(LowerContext& c) {
  return lower_mask(c, DataType::Float32, [kernels = c.kernels().elementwise](const kernels::Tile& tile) {
    kernels->compare(kOp, tile);
  });
}

template <LogicOp kOp>
LowerResult lower_logic(LowerContext& c) {
  return lower_mask(c, DataType::Bool, [kernels = c.kernels().elementwise](const kernels::Tile& tile) {
    kernels->logic(kOp, tile);
  });
}

LowerResult lower_where(LowerContext& c) {
  if (c.inputs[1].type != DataType::Float32)
    return Refusal{fmt::format("element type {}", to_string(c.inputs[1].type))};
  return lower_mask(c, DataType::Undefined,
                    [kernels = c.kernels().elementwise](const kernels::Tile& tile) { kernels->where(tile); });
}

}  // namespace

void add_mask_candidates(CandidateMap& map) {
  map["Equal"].push_back({"mask", lower_compare<CompareOp::Equal>});
  map["Greater"].push_back({"mask", lower_compare<CompareOp::Greater>});
  map["GreaterOrEqual"].push_back({"mask", lower_compare<CompareOp::GreaterOrEqual>});
  map["Less"].push_back({"mask", lower_compare<CompareOp::Less>});
  map["LessOrEqual"].push_back({"mask", lower_compare<CompareOp::LessOrEqual>});
  map["And"].push_back({"mask", lower_logic<LogicOp::And>});
  map["Or"].push_back({"mask", lower_logic<LogicOp::Or>});
  map["Xor"].push_back({"mask", lower_logic<LogicOp::Xor>});
  map["Where"].push_back({"mask", lower_where});
}

}  // namespace ember::ops
