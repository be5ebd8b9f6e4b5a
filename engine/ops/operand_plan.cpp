#include "ops/operand_plan.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/aligned_memory.hpp"

namespace ember::ops {

namespace {

/// Extent of the operand along axis 1 of the result; missing axes count as 1.
std::int64_t channels_of(const TensorDesc& operand, int result_rank) {
  const int axis = 1 - (result_rank - operand.shape.rank());
  return axis < 0 ? 1 : operand.shape[axis];
}

bool padding_allows(PaddingRule rule, const LowerContext& c, const Shape& shape) {
  if (rule == PaddingRule::Any) return true;
  if (rule == PaddingRule::Never) return false;
  if (shape[1] % c.block() == 0) return true;
  return rule == PaddingRule::ConstantDivisor && c.constants[1] != nullptr;
}

/// The layout of each operand when the result is blocked, or nothing when it cannot be.
bool choose_blocked(const LowerContext& c, PaddingRule rule, OperandPlan& plan) {
  const Shape& shape = plan.result.shape;
  const int rank = shape.rank();
  if (rank < 3 || plan.result.type != DataType::Float32 || !padding_allows(rule, c, shape)) return false;
  bool wanted = false;
  std::vector<Layout> layouts;
  for (std::size_t k = 0; k < plan.operands.size(); ++k) {
    const TensorDesc& operand = c.inputs[k];
    const std::int64_t channels = channels_of(operand, rank);
    const bool constant = c.constants[k] != nullptr;
    const bool is_blocked = !constant && operand.layout == Layout::Blocked;
    wanted = wanted || (is_blocked && operand.shape == shape);
    if (operand.type != DataType::Float32) return false;
    if (channels == 1 && !(is_blocked && shape[1] == 1 && operand.shape.rank() == rank)) {
      layouts.push_back(Layout::Plain);
    } else if (constant || operand.shape.rank() == rank) {
      layouts.push_back(Layout::Blocked);
    } else {
      return false;
    }
  }
  if (!wanted) return false;
  plan.result.layout = Layout::Blocked;
  for (std::size_t k = 0; k < layouts.size(); ++k) plan.operands[k].layout = layouts[k];
  return true;
}

/// A constant of the result's channels as [N][blocks][positions][block], its padding filled.
std::shared_ptr<const void> pack_blocked(LowerContext& c, const Tensor& tensor, TensorDesc& desc, int rank,
                                         float padding) {
  std::vector<std::int64_t> dims(static_cast<std::size_t>(rank - desc.shape.rank()), 1);
  dims.insert(dims.end(), desc.shape.begin(), desc.shape.end());
  desc.shape = Shape(dims);
  const std::int64_t channels = desc.shape[1];
  const std::int64_t positions = desc.shape.elements(2, rank);
  const std::int64_t blocks = (channels + desc.block - 1) / desc.block;
  const std::int64_t block = desc.block;
  const std::int64_t count = desc.stored_elements();
  return c.pack(tensor, fmt::format("blocked{}.rank{}.pad{}", block, rank, padding),
                static_cast<std::size_t>(count), [=](const Tensor& source, float* to) {
                  const float* from = source.data<float>().data();
                  for (std::int64_t i = 0; i < count; ++i) {
                    const std::int64_t n = i / (blocks * positions * block);
                    const std::int64_t channel = i / (positions * block) % blocks * block + i % block;
                    const std::int64_t p = i / block % positions;
                    to[i] = channel < channels ? from[(n * channels + channel) * positions + p] : padding;
                  }
                });
}

std::shared_ptr<const void> pack_plain(LowerContext& c, const Tensor& tensor) {
  if (tensor.type() == DataType::Float32) {
    return keep_constant(c, tensor, "plain");
  }
  const std::shared_ptr<void> copy = allocate_aligned(tensor.bytes());
  std::memcpy(copy.get(), tensor.raw(), tensor.bytes());
  return copy;
}

}  // namespace

TileLoops OperandPlan::loops() const {
  std::vector<std::vector<std::int64_t>> strides;
  for (const TensorDesc& operand : operands) strides.push_back(memory_strides(result, operand));
  return {memory_dims(result), std::move(strides)};
}

Lowered OperandPlan::lowered() const {
  Lowered lowered;
  for (const TensorDesc& operand : operands) lowered.input_layouts.push_back(operand.layout);
  lowered.output_layouts = {result.layout};
  for (std::size_t k = 0; k < operands.size() && lowered.in_place < 0; ++k) {
    if (constants[k] == nullptr && operands[k].type == result.type && operands[k].shape == result.shape &&
        operands[k].layout == result.layout)
      lowered.in_place = static_cast<int>(k);
  }
  return lowered;
}

std::optional<Refusal> plan_operands(LowerContext& c, DataType type, PaddingRule rule, OperandPlan& plan) {
  const auto count = static_cast<std::size_t>(c.input_count());
  if (count > TileLoops::kMaxOperands) return Refusal{fmt::format("{} inputs", count)};
  plan.result = {.type = c.outputs[0].type, .shape = c.outputs[0].shape, .block = c.block()};
  if (plan.result.shape.elements() == 0) return Refusal{"no elements"};
  for (std::size_t k = 0; k < count; ++k) {
    const TensorDesc& input = c.inputs[k];
    if (type != DataType::Undefined && input.type != type)
      return Refusal{fmt::format("element type {}", to_string(input.type))};
    plan.operands.push_back({.type = input.type, .shape = input.shape, .block = c.block()});
  }
  choose_blocked(c, rule, plan);
  for (std::size_t k = 0; k < count; ++k) {
    const Tensor* tensor = c.constants[k];
    if (tensor == nullptr) plan.constants.push_back(nullptr);
    else if (plan.operands[k].layout == Layout::Plain) plan.constants.push_back(pack_plain(c, *tensor));
    else
      plan.constants.push_back(pack_blocked(c, *tensor, plan.operands[k], plan.result.shape.rank(),
                                            rule == PaddingRule::ConstantDivisor ? 1.0F : 0.0F));
  }
  return std::nullopt;
}

}  // namespace ember::ops
