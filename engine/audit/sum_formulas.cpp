#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "audit/formulas.hpp"

// Elementwise sums and scalings: Add, Sub, Sum, Mean, Neg, Mul and Div by constants, BatchNormalization.

namespace ember::auditing {

namespace {

/// A sum of broadcast operands, each with a factor.
class SumFormula final : public LinearFormula {
 public:
  struct Operand {
    std::int32_t input = -1;          ///< -1: the constants below
    std::vector<std::int32_t> index;  ///< by output element; empty: the element itself
    std::vector<double> constants;
    double factor = 1.0;
  };
  std::vector<Operand> operands;

  void row(std::int64_t o, LinearRow& row) const override {
    row.clear();
    for (const Operand& operand : operands) {
      const std::int32_t at =
          operand.index.empty() ? static_cast<std::int32_t>(o) : operand.index[static_cast<std::size_t>(o)];
      if (operand.input >= 0) {
        row.terms.push_back({.input = operand.input, .index = at, .weight = operand.factor});
      } else {
        const double value = operand.factor * operand.constants[static_cast<std::size_t>(at)];
        row.constant += value;
        row.magnitude += std::abs(value);
      }
    }
  }
  [[nodiscard]] double terms_per_row() const override { return static_cast<double>(operands.size()); }
};

/// output = weight · input + constant, both by output element through broadcast indices.
class ScaleFormula final : public LinearFormula {
 public:
  std::vector<std::int32_t> element;    ///< of the input, by output element; empty: the element itself
  std::vector<std::int32_t> parameter;  ///< index into the vectors below, by output element
  std::vector<double> weights, constants, magnitudes;

  void row(std::int64_t o, LinearRow& row) const override {
    row.clear();
    const auto at = static_cast<std::size_t>(o);
    const auto p = parameter.empty() ? 0 : static_cast<std::size_t>(parameter[at]);
    row.terms.push_back(
        {.index = element.empty() ? static_cast<std::int32_t>(o) : element[at], .weight = weights[p]});
    if (!constants.empty()) {
      row.constant = constants[p];
      row.magnitude = magnitudes[p];
    }
  }
  [[nodiscard]] double terms_per_row() const override { return 1.0; }
};

std::vector<std::int32_t> indices_for(const FormulaNode& node, int input) {
  if (node.shape(input) == node.output_shape()) return {};
  return broadcast_indices(node.output_shape(), node.shape(input));
}

NodeFormulas sum_of(const FormulaNode& node, const std::vector<double>& factors) {
  if (node.output_type() != DataType::Float32) return {};
  auto formula = std::make_unique<SumFormula>();
  formula->output = 0;
  for (int i = 0; i < node.input_count(); ++i) {
    SumFormula::Operand operand{.index = indices_for(node, i),
                                .factor = factors[static_cast<std::size_t>(i)]};
    if (node.is_variable(i)) {
      operand.input = static_cast<std::int32_t>(formula->inputs.size());
      formula->inputs.push_back(node.variable(i));
    } else {
      operand.constants = node.doubles(i);
    }
    formula->operands.push_back(std::move(operand));
  }
  return one(std::move(formula));
}

/// Mul or Div of a variable by a constant.
NodeFormulas scaling(const FormulaNode& node) {
  if (node.output_type() != DataType::Float32 || node.input_count() != 2) return {};
  const bool divides = node.op() == "Div";
  const int variable = node.is_variable(0) ? 0 : 1;
  if (node.constant(1 - variable) == nullptr || (divides && variable == 1)) return {};
  auto formula = std::make_unique<ScaleFormula>();
  formula->inputs = {node.variable(variable)};
  formula->output = 0;
  formula->element = indices_for(node, variable);
  formula->parameter = broadcast_indices(node.output_shape(), node.shape(1 - variable));
  formula->weights = node.doubles(1 - variable);
  for (double& weight : formula->weights) {
    if (divides) weight = 1.0 / weight;
    if (!std::isfinite(weight)) return {};
  }
  return one(std::move(formula));
}

NodeFormulas negation(const FormulaNode& node) {
  auto formula = std::make_unique<ScaleFormula>();
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  formula->exact = true;
  formula->weights = {-1.0};
  return one(std::move(formula));
}

/// A type's numbers in another one that holds them all.
NodeFormulas cast(const FormulaNode& node) {
  const DataType from = node.type(0);
  const bool small = from == DataType::Int8 || from == DataType::UInt8 || from == DataType::Int16 ||
                     from == DataType::UInt16 || from == DataType::Bool || from == DataType::Float16;
  const bool same = from == node.output_type();
  if (!same && !(node.output_type() == DataType::Float32 && small)) return {};
  auto formula = std::make_unique<ScaleFormula>();
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  formula->exact = true;
  formula->weights = {1.0};
  return one(std::move(formula));
}

NodeFormulas dequantization(const FormulaNode& node) {
  if (node.output_type() != DataType::Float32 || !node.is_variable(0) || node.constant(1) == nullptr ||
      node.constant(1)->elements() != 1 || (node.has_input(2) && node.constant(2) == nullptr)) {
    return {};
  }
  auto formula = std::make_unique<ScaleFormula>();
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  formula->weights = node.doubles(1);
  const double zero = node.has_input(2) ? node.doubles(2)[0] : 0.0;
  formula->constants = {-zero * formula->weights[0]};
  formula->magnitudes = {std::abs(formula->constants[0])};
  formula->direct = false;
  return one(std::move(formula));
}

NodeFormulas batch_normalization(const FormulaNode& node) {
  for (int i = 1; i <= 4; ++i) {
    if (node.constant(i) == nullptr) return {};
  }
  if (node.output_type() != DataType::Float32) return {};
  const std::vector<double> scale = node.doubles(1), shift = node.doubles(2), mean = node.doubles(3),
                            variance = node.doubles(4);
  auto formula = std::make_unique<ScaleFormula>();
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  const double epsilon = double{node.real("epsilon", 1e-5F)};
  for (std::size_t i = 0; i < scale.size(); ++i) {
    const double weight = scale[i] / std::sqrt(variance[i] + epsilon);
    if (!std::isfinite(weight)) return {};
    formula->weights.push_back(weight);
    formula->constants.push_back(shift[i] - mean[i] * weight);
    // The mean may be taken off before or after scaling.
    formula->magnitudes.push_back(std::abs(shift[i]) + 2.0 * std::abs(mean[i] * weight));
  }
  const Shape& shape = node.output_shape();
  const std::int64_t positions = shape.elements(std::min(2, shape.rank()), shape.rank());
  formula->parameter.resize(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < formula->parameter.size(); ++i) {
    formula->parameter[i] = static_cast<std::int32_t>(i / static_cast<std::size_t>(positions) % scale.size());
  }
  formula->roundings = 10;
  formula->direct = false;
  return one(std::move(formula));
}

}  // namespace

NodeFormulas sum_formulas(const FormulaNode& node) {
  const std::string_view op = node.op();
  const auto inputs = static_cast<std::size_t>(node.input_count());
  if (op == "Add" || op == "Sum") return sum_of(node, std::vector<double>(inputs, 1.0));
  if (op == "Sub") return sum_of(node, {1.0, -1.0});
  if (op == "Mean") return sum_of(node, std::vector<double>(inputs, 1.0 / static_cast<double>(inputs)));
  if (op == "Mul" || op == "Div") return scaling(node);
  if (op == "Neg" && node.output_type() == DataType::Float32) return negation(node);
  if (op == "Cast" && node.is_variable(0)) return cast(node);
  if (op == "DequantizeLinear") return dequantization(node);
  if (op == "BatchNormalization" && node.is_variable(0)) return batch_normalization(node);
  return {};
}

}  // namespace ember::auditing
