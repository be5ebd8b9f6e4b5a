#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "audit/formulas.hpp"
#include "ops/softmax.hpp"

// Softmax and the normalisations by the data's own moments: what is known of their results does not depend on
// their inputs, and gradients have rules of their own.

namespace ember::auditing {

namespace {

class SoftmaxFormula final : public OpaqueFormula {
 public:
  ops::SoftmaxLines lines{};
  bool logarithm = false;

  bool pull(const std::vector<std::span<const float>>& /*x*/, std::span<const float> y,
            std::span<const double> dy, const std::vector<std::span<double>>& dx) const override {
    for (std::int64_t line = 0; line < lines.outer * lines.inner; ++line) {
      const std::int64_t first = line / lines.inner * lines.length * lines.inner + line % lines.inner;
      const auto at = [&](std::int64_t k) { return static_cast<std::size_t>(first + k * lines.inner); };
      double sum = 0.0;
      for (std::int64_t k = 0; k < lines.length; ++k) sum += dy[at(k)] * (logarithm ? 1.0 : double{y[at(k)]});
      for (std::int64_t k = 0; k < lines.length; ++k) {
        const double p = logarithm ? std::exp(double{y[at(k)]}) : double{y[at(k)]};
        dx[0][at(k)] += logarithm ? dy[at(k)] - p * sum : p * (dy[at(k)] - sum);
      }
    }
    return true;
  }
};

/// y = (x − mean) / sqrt(variance + epsilon) · scale + bias over runs of elements next to each other.
class MomentFormula final : public OpaqueFormula {
 public:
  std::int64_t run = 1;
  double epsilon = 1e-5;
  bool centred = true;
  std::vector<double> scale;        ///< known, by index
  std::vector<std::int32_t> index;  ///< into scale, by element

  bool pull(const std::vector<std::span<const float>>& x, std::span<const float> /*y*/,
            std::span<const double> dy, const std::vector<std::span<double>>& dx) const override {
    const auto length = static_cast<std::size_t>(run);
    for (std::size_t first = 0; first + length <= dy.size(); first += length) {
      double mean = 0.0, square = 0.0;
      for (std::size_t i = first; i < first + length; ++i) mean += double{x[0][i]};
      mean = centred ? mean / static_cast<double>(run) : 0.0;
      for (std::size_t i = first; i < first + length; ++i)
        square += (double{x[0][i]} - mean) * (double{x[0][i]} - mean);
      const double inverse = 1.0 / std::sqrt(square / static_cast<double>(run) + epsilon);
      double sum = 0.0, projected = 0.0;
      for (std::size_t i = first; i < first + length; ++i) {
        const double d = dy[i] * scale[static_cast<std::size_t>(index[i])];
        sum += d;
        projected += d * (double{x[0][i]} - mean) * inverse;
      }
      sum = centred ? sum / static_cast<double>(run) : 0.0;
      projected /= static_cast<double>(run);
      for (std::size_t i = first; i < first + length; ++i) {
        const double d = dy[i] * scale[static_cast<std::size_t>(index[i])];
        dx[0][i] += inverse * (d - sum - (double{x[0][i]} - mean) * inverse * projected);
      }
    }
    return true;
  }
};

NodeFormulas softmax(const FormulaNode& node) {
  auto formula = std::make_unique<SoftmaxFormula>();
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  formula->lines = ops::softmax_lines(node, node.shape(0));
  formula->logarithm = node.op() == "LogSoftmax";
  // Shares of a sum that is rounded; NaN is not excluded for inputs that are not finite.
  formula->range = formula->logarithm ? Interval{.upper = 1e-3} : Interval{0.0, 1.001};
  return one(std::move(formula));
}

/// Of their results nothing is claimed: a run that is constant but for rounding has any moments.
NodeFormulas moments(const FormulaNode& node) {
  const bool layer = node.op() == "LayerNormalization" || node.op() == "RMSNormalization";
  if (node.constant(1) == nullptr || (node.has_input(2) && node.constant(2) == nullptr)) return {};
  if (node.has_output(1) || node.has_output(2)) return {};
  const Shape& shape = node.shape(0);
  auto formula = std::make_unique<MomentFormula>();
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  formula->epsilon = double{node.real("epsilon", 1e-5F)};
  formula->centred = node.op() != "RMSNormalization";
  formula->scale = node.doubles(1);
  if (layer) {
    const int axis = ops::normalize_axis(node, node.integer("axis", -1), shape.rank());
    formula->run = shape.elements(axis, shape.rank());
    formula->index = broadcast_indices(shape, node.shape(1));
  } else {
    const std::int64_t groups = node.op() == "GroupNormalization" ? node.integer("num_groups", 1) : shape[1];
    const std::int64_t positions = shape.elements(2, shape.rank());
    formula->run = shape[1] / groups * positions;
    const bool per_group = static_cast<std::int64_t>(formula->scale.size()) != shape[1];
    formula->index.resize(static_cast<std::size_t>(shape.elements()));
    for (std::size_t i = 0; i < formula->index.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const std::int64_t channel = at / positions % shape[1];
      formula->index[i] = static_cast<std::int32_t>(per_group ? channel / (shape[1] / groups) : channel);
    }
  }
  return one(std::move(formula));
}

}  // namespace

NodeFormulas normalization_formulas(const FormulaNode& node) {
  const std::string_view op = node.op();
  if (node.input_count() == 0 || !node.is_variable(0) || node.output_type() != DataType::Float32) return {};
  if (op == "Softmax" || op == "LogSoftmax") return softmax(node);
  if (op == "LayerNormalization" || op == "RMSNormalization" || op == "InstanceNormalization" ||
      op == "GroupNormalization") {
    return moments(node);
  }
  return {};
}

}  // namespace ember::auditing
