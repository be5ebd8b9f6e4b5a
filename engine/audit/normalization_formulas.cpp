#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "audit/formulas.hpp"
#include "audit/rounding.hpp"
#include "ops/softmax.hpp"

// Softmax and the normalisations by the data's own moments: no sum of their inputs, with bounds and gradients
// of their own.

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
  bool per_channel = false;   ///< the engine folds mean and deviation into one factor and summand per channel
  std::vector<double> scale;  ///< known, by index
  std::vector<std::int32_t> index;       ///< into scale, by element
  std::vector<double> bias;              ///< likewise; empty: none
  std::vector<std::int32_t> bias_index;  ///< into bias, by element

  bool bound(const std::vector<Ends>& x, std::vector<Interval>& y) const override {
    const auto length = static_cast<std::size_t>(run);
    for (std::size_t first = 0; first + length <= y.size(); first += length) {
      const auto lower = x[0].lower.subspan(first, length);
      const auto upper = x[0].upper.subspan(first, length);
      if (!bound_run(lower, upper, first, std::span(y).subspan(first, length))) return false;
    }
    return true;
  }

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

 private:
  /// The same for one run of elements, the first of which is element `first` of the tensor.
  bool bound_run(std::span<const double> lower, std::span<const double> upper, std::size_t first,
                 std::span<Interval> y) const;
};

/// d is an element less the mean as the engine rounds it, v the variance that it computes from such. Whatever
/// mean that is, d² is at most the sum of all squares, so |d| / sqrt(v + epsilon) is at most sqrt(n) but for
/// rounding: the deviation of the mean from its rounded value, whose square the engine takes off the
/// variance. Beyond that d and v have intervals of their own.
bool MomentFormula::bound_run(std::span<const double> lower, std::span<const double> upper, std::size_t first,
                              std::span<Interval> y) const {
  constexpr double kSlack = 1e-5;  // of square roots, quotients and the products that follow: a few roundings
  const auto n = static_cast<double>(run);
  double low_sum = 0.0, high_sum = 0.0, largest = 0.0, magnitudes = 0.0;
  for (std::size_t i = 0; i < lower.size(); ++i) {
    low_sum += lower[i];
    high_sum += upper[i];
    const double magnitude = std::max(std::abs(lower[i]), std::abs(upper[i]));
    largest = std::max(largest, magnitude);
    magnitudes += magnitude;
  }
  // No square, and no sum of them, overflows.
  if (!(epsilon >= 1e-12) || !(4.0 * n * (largest + 1.0) * (largest + 1.0) < kOverflow)) return false;
  const double relative = gamma(n + 16.0);
  if (relative > 0.1) return false;
  const double off = centred ? 4.0 * kUnit * largest + kFlush : 0.0;
  const double mean_error = centred ? relative * magnitudes / n + off : 0.0;
  std::vector<Interval> d(lower.size());
  double most = 0.0, least = 0.0;
  for (std::size_t i = 0; i < d.size(); ++i) {
    d[i] = {lower[i], upper[i]};
    if (centred) {
      d[i].lower = lower[i] - (high_sum - upper[i] + lower[i]) / n;
      d[i].upper = upper[i] - (low_sum - lower[i] + upper[i]) / n;
    }
    const double error = mean_error + 8.0 * kUnit * (largest + magnitudes / n) + kFlush;
    d[i].lower -= error;
    d[i].upper += error;
    const double far = std::max(std::abs(d[i].lower), std::abs(d[i].upper));
    const double near = d[i].lower > 0.0 ? d[i].lower : d[i].upper < 0.0 ? -d[i].upper : 0.0;
    most += far * far;
    least += near * near;
  }
  const double high_variance = most / n * (1.0 + relative) + kFlush;
  const double low_variance = std::max(0.0, least / n * (1.0 - relative) - off * off - kFlush);
  const double smallest_factor = (1.0 - kSlack) / std::sqrt(high_variance + epsilon);
  const double largest_factor = (1.0 + kSlack) / std::sqrt(low_variance + epsilon);
  const double limit =
      (1.0 + kSlack) * std::sqrt(n * (1.0 + relative) * (1.0 + off * off / epsilon) + n * kFlush / epsilon) +
      off * largest_factor;
  for (std::size_t i = 0; i < d.size(); ++i) {
    const double low = std::max(-limit, d[i].lower * (d[i].lower < 0.0 ? largest_factor : smallest_factor));
    const double high = std::min(limit, d[i].upper * (d[i].upper > 0.0 ? largest_factor : smallest_factor));
    const double factor = scale[static_cast<std::size_t>(index[first + i])];
    const double shift = bias.empty() ? 0.0 : bias[static_cast<std::size_t>(bias_index[first + i])];
    const double unit = std::max(std::abs(low), std::abs(high)) +
                        (per_channel ? 2.0 * (largest + magnitudes / n) * largest_factor : 0.0);
    const double error =
        32.0 * kUnit * (std::abs(factor) * unit + std::abs(shift)) + 8.0 * kFlush * (1.0 + std::abs(factor));
    y[i] = {std::min(factor * low, factor * high) + shift - error,
            std::max(factor * low, factor * high) + shift + error};
  }
  return true;
}

NodeFormulas softmax(const FormulaNode& node) {
  auto formula = std::make_unique<SoftmaxFormula>();
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  formula->lines = ops::softmax_lines(node, node.shape(0));
  formula->logarithm = node.op() == "LogSoftmax";
  // Shares of a sum that is rounded; NaN is not excluded for inputs that are not finite.
  formula->range = formula->logarithm ? Interval{.upper = 1e-3} : Interval{0.0, 1.001};
  formula->bounded = true;
  return one(std::move(formula));
}

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
  formula->bounded = true;
  if (node.has_input(2)) formula->bias = node.doubles(2);
  if (layer) {
    const int axis = ops::normalize_axis(node, node.integer("axis", -1), shape.rank());
    formula->run = shape.elements(axis, shape.rank());
    formula->index = broadcast_indices(shape, node.shape(1));
    if (node.has_input(2)) formula->bias_index = broadcast_indices(shape, node.shape(2));
  } else {
    formula->per_channel = true;
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
    formula->bias_index = formula->index;
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
