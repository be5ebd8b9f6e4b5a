#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "ops/lowering.hpp"
#include "ops/tile_loops.hpp"

namespace ember::ops {

/// When an element-wise operator may work on channel padding, which must stay finite.
enum class PaddingRule : std::uint8_t {
  Any,              ///< finite operands give finite results
  ConstantDivisor,  ///< as long as operand 1 is constant (its padding is made 1)
  NoPadding,        ///< only when there is none
  Never,            ///< plain layout only
};

/// Layouts, constants and loops of an element-wise operator with broadcasting.
struct OperandPlan {
  TensorDesc result;
  std::vector<TensorDesc> operands;  ///< with the layout wanted
  /// By operand: its elements in that layout if it is constant, else nullptr.
  std::vector<std::shared_ptr<const void>> constants;

  [[nodiscard]] TileLoops loops() const;
  /// Everything of the lowering but the step. In place on the first operand that is as large as the
  /// result and of its type.
  [[nodiscard]] Lowered lowered() const;
};

/// Fills in the plan: blocked when an operand of the result's shape is blocked now and the others can
/// join, else plain. Refuses operands that are not of the type (Undefined: whatever each has), results
/// without elements, and more than TileLoops::kMaxOperands operands.
std::optional<Refusal> plan_operands(LowerContext& context, DataType type, PaddingRule rule,
                                     OperandPlan& plan);

}  // namespace ember::ops
