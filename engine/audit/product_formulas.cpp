#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "audit/formulas.hpp"
#include "audit/rounding.hpp"
#include "ops/conv_geometry.hpp"
#include "ops/matmul_geometry.hpp"

// Conv, ConvTranspose, Gemm, MatMul, and Mul and Div of two variables.

namespace ember::auditing {

namespace {

class ConvFormula final : public LinearFormula {
 public:
  ops::ConvGeometry g;
  std::span<const float> weights;
  std::vector<double> bias;
  TransformedFilters transformed;  ///< empty unless the engine may compute by a transform

  void row(std::int64_t o, LinearRow& row) const override {
    row.clear();
    const std::int64_t outputs = g.windows.outputs();
    const std::int64_t plane = g.windows.inputs();
    const std::int64_t taps = g.windows.taps();
    const std::int64_t m = o / outputs % g.out_channels;
    const std::int64_t n = o / outputs / g.out_channels;
    const std::int64_t p = o % outputs;
    const auto& [depth, height, width] = g.windows.axes;
    const ops::Position position = {p / width.output / height.output, p / width.output % height.output,
                                    p % width.output};
    if (!bias.empty()) row.set_constant(bias[static_cast<std::size_t>(m)]);
    const std::int64_t first = n * g.in_channels + m / g.out_per_group() * g.in_per_group();
    ops::for_each_tap(g.windows, position, [&](std::int64_t x, std::int64_t k) {
      for (std::int64_t c = 0; c < g.in_per_group(); ++c) {
        row.terms.push_back(
            {.index = static_cast<std::int32_t>((first + c) * plane + x),
             .weight = double{weights[static_cast<std::size_t>((m * g.in_per_group() + c) * taps + k)]}});
      }
    });
  }
  [[nodiscard]] double terms_per_row() const override {
    return static_cast<double>(g.in_per_group() * g.windows.taps());
  }
  void add_error(const std::vector<Magnitudes>& given, std::span<double> error) const override {
    if (!transformed.empty()) transformed.add_error(g, given[0].of_input, error);
  }
  [[nodiscard]] bool adds_error() const override { return !transformed.empty(); }
};

class ConvTransposeFormula final : public LinearFormula {
 public:
  ops::ConvGeometry g;
  std::span<const float> weights;
  std::vector<double> bias;

  void row(std::int64_t o, LinearRow& row) const override {
    row.clear();
    const std::int64_t outputs = g.windows.outputs();
    const std::int64_t m = o / outputs % g.out_channels;
    const std::int64_t n = o / outputs / g.out_channels;
    const std::int64_t p = o % outputs;
    const auto& [depth, height, width] = g.windows.axes;
    if (!bias.empty()) row.set_constant(bias[static_cast<std::size_t>(m)]);
    const std::int64_t first = m / g.out_per_group() * g.in_per_group();
    for (std::int64_t k = 0; k < g.windows.taps(); ++k) {
      const std::int64_t d =
          source(depth, p / width.output / height.output, k / width.kernel / height.kernel);
      const std::int64_t h =
          source(height, p / width.output % height.output, k / width.kernel % height.kernel);
      const std::int64_t w = source(width, p % width.output, k % width.kernel);
      if (d < 0 || h < 0 || w < 0) continue;
      const std::int64_t x = (d * height.input + h) * width.input + w;
      for (std::int64_t c = first; c < first + g.in_per_group(); ++c) {
        row.terms.push_back(
            {.index = static_cast<std::int32_t>((n * g.in_channels + c) * g.windows.inputs() + x),
             .weight = double{weights[static_cast<std::size_t>(
                 (c * g.out_per_group() + m % g.out_per_group()) * g.windows.taps() + k)]}});
      }
    }
  }
  [[nodiscard]] double terms_per_row() const override {
    return static_cast<double>(g.in_per_group() * g.windows.taps());
  }

 private:
  /// The input position that meets output `o` at tap `k`, -1 when there is none.
  static std::int64_t source(const ops::WindowAxis& axis, std::int64_t o, std::int64_t k) {
    const std::int64_t at = o + axis.pad_begin - k * axis.dilation;
    if (at < 0 || at % axis.stride != 0 || at / axis.stride >= axis.input) return -1;
    return at / axis.stride;
  }
};

/// A stack of matrix products of which one factor is known: output (i, r, c) = Σ_k weight · variable.
class MatrixFormula final : public LinearFormula {
 public:
  ops::MatMulGeometry g;
  bool left_is_variable = true;
  std::span<const float> known;
  /// Strides of (row, k) of the left and (k, column) of the right factor.
  std::int64_t left_row = 0, left_k = 1, right_k = 0, right_column = 1;
  double factor = 1.0;
  std::vector<double> addend;              ///< known summand
  std::int32_t addend_input = -1;          ///< or a variable one
  std::vector<std::int32_t> addend_index;  ///< by output element
  double addend_factor = 1.0;

  void row(std::int64_t o, LinearRow& row) const override {
    row.clear();
    const std::int64_t each = g.m * g.n;
    const auto matrix = static_cast<std::size_t>(o / each);
    const std::int64_t r = o % each / g.n;
    const std::int64_t c = o % g.n;
    const std::int64_t left = g.a_matrix[matrix] * g.m * g.k + r * left_row;
    const std::int64_t right = g.b_matrix[matrix] * g.k * g.n + c * right_column;
    row.terms.resize(static_cast<std::size_t>(g.k));
    for (std::int64_t k = 0; k < g.k; ++k) {
      const std::int64_t a = left + k * left_k;
      const std::int64_t b = right + k * right_k;
      row.terms[static_cast<std::size_t>(k)] = {
          .index = static_cast<std::int32_t>(left_is_variable ? a : b),
          .weight = factor * double{known[static_cast<std::size_t>(left_is_variable ? b : a)]}};
    }
    if (addend_index.empty()) return;
    const std::int32_t at = addend_index[static_cast<std::size_t>(o)];
    if (addend_input >= 0) row.terms.push_back({.input = addend_input, .index = at, .weight = addend_factor});
    else row.set_constant(addend_factor * addend[static_cast<std::size_t>(at)]);
  }
  [[nodiscard]] double terms_per_row() const override { return static_cast<double>(g.k + 1); }
};

/// Both factors are variables.
class MatrixProductFormula final : public ProductFormula {
 public:
  ops::MatMulGeometry g;

  void row(std::int64_t o, std::vector<std::pair<Element, Element>>& pairs) const override {
    pairs.clear();
    const std::int64_t each = g.m * g.n;
    const auto matrix = static_cast<std::size_t>(o / each);
    const std::int64_t left = (g.a_matrix[matrix] * g.m + o % each / g.n) * g.k;
    const std::int64_t right = g.b_matrix[matrix] * g.k * g.n + o % g.n;
    for (std::int64_t k = 0; k < g.k; ++k) {
      pairs.push_back({{.input = 0, .index = static_cast<std::int32_t>(left + k)},
                       {.input = 1, .index = static_cast<std::int32_t>(right + k * g.n)}});
    }
  }
};

class ElementProductFormula final : public ProductFormula {
 public:
  std::vector<std::int32_t> left, right;

  void row(std::int64_t o, std::vector<std::pair<Element, Element>>& pairs) const override {
    const auto at = static_cast<std::size_t>(o);
    pairs.assign(1, {{.input = 0, .index = left[at]}, {.input = 1, .index = right[at]}});
  }
};

template <class Values>
bool finite(const Values& values) {
  return std::ranges::all_of(values, [](auto v) { return std::isfinite(v); });
}

template <class F>
NodeFormulas convolution(const FormulaNode& node, const ops::ConvGeometry& g) {
  const bool constants = node.constant(1) != nullptr && (!node.has_input(2) || node.constant(2) != nullptr);
  if (!constants || node.output_type() != DataType::Float32) return {};
  auto formula = std::make_unique<F>();
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  formula->g = g;
  formula->weights = node.floats(1);
  if (node.has_input(2)) formula->bias = node.doubles(2);
  if (!finite(formula->weights) || !finite(formula->bias)) return {};
  if constexpr (std::is_same_v<F, ConvFormula>) {
    formula->transformed = TransformedFilters(g, formula->weights);
    formula->direct = formula->transformed.empty();
  }
  return one(std::move(formula));
}

/// The factor that is known, and where; nothing when both or none are.
NodeFormulas matrix_product(const FormulaNode& node, ops::MatMulGeometry g) {
  if (node.output_type() != DataType::Float32) return {};
  if (node.is_variable(0) && node.is_variable(1)) {
    auto formula = std::make_unique<MatrixProductFormula>();
    formula->inputs = {node.variable(0), node.variable(1)};
    formula->output = 0;
    formula->g = std::move(g);
    return one(std::move(formula));
  }
  auto formula = std::make_unique<MatrixFormula>();
  formula->left_is_variable = node.is_variable(0);
  formula->inputs = {node.variable(formula->left_is_variable ? 0 : 1)};
  formula->output = 0;
  formula->known = node.floats(formula->left_is_variable ? 1 : 0);
  formula->left_row = g.k;
  formula->right_k = g.n;
  formula->g = std::move(g);
  return finite(formula->known) ? one(std::move(formula)) : NodeFormulas{};
}

NodeFormulas gemm(const FormulaNode& node) {
  if (node.output_type() != DataType::Float32 || (node.is_variable(0) && node.is_variable(1))) return {};
  const ops::GemmGeometry shape = ops::gemm_geometry(node, node.shape(0), node.shape(1));
  auto formula = std::make_unique<MatrixFormula>();
  formula->g = {.m = shape.m,
                .n = shape.n,
                .k = shape.k,
                .count = 1,
                .output = node.output_shape(),
                .a_matrix = {0},
                .b_matrix = {0}};
  formula->left_is_variable = node.is_variable(0);
  const bool product_varies = node.is_variable(0) || node.is_variable(1);
  if (!product_varies) return {};
  formula->inputs = {node.variable(formula->left_is_variable ? 0 : 1)};
  formula->output = 0;
  formula->known = node.floats(formula->left_is_variable ? 1 : 0);
  formula->left_row = shape.transpose_a ? 1 : shape.k;
  formula->left_k = shape.transpose_a ? shape.m : 1;
  formula->right_k = shape.transpose_b ? 1 : shape.n;
  formula->right_column = shape.transpose_b ? shape.k : 1;
  formula->factor = double{shape.alpha};
  formula->addend_factor = double{shape.beta};
  if (node.has_input(2)) {
    formula->addend_index = broadcast_indices(node.output_shape(), node.shape(2));
    if (node.is_variable(2)) {
      formula->addend_input = 1;
      formula->inputs.push_back(node.variable(2));
    } else {
      formula->addend = node.doubles(2);
    }
  }
  return finite(formula->known) && finite(formula->addend) ? one(std::move(formula)) : NodeFormulas{};
}

NodeFormulas elementwise(const FormulaNode& node) {
  if (node.output_type() != DataType::Float32 || !node.is_variable(1)) return {};
  auto formula = std::make_unique<ElementProductFormula>();
  formula->left = broadcast_indices(node.output_shape(), node.shape(0));
  formula->right = broadcast_indices(node.output_shape(), node.shape(1));
  formula->output = 0;
  if (node.op() == "Mul") {
    if (!node.is_variable(0)) return {};
    formula->inputs = {node.variable(0), node.variable(1)};
    return one(std::move(formula));
  }
  // a / b is a · (1 / b), with the reciprocal as a variable of its own.
  if (!node.is_variable(0)) return {};
  NodeFormulas formulas = one(reciprocal_formula(node.variable(1)));
  formula->inputs = {node.variable(0), -2};
  formulas.push_back(std::move(formula));
  return formulas;
}

}  // namespace

NodeFormulas product_formulas(const FormulaNode& node) {
  const std::string_view op = node.op();
  if (op == "Conv" && node.is_variable(0) && !node.is_variable(1)) {
    return convolution<ConvFormula>(node, ops::conv_geometry(node, node.shape(0), node.shape(1)));
  }
  if (op == "ConvTranspose" && node.is_variable(0) && !node.is_variable(1)) {
    return convolution<ConvTransposeFormula>(
        node, ops::conv_transpose_geometry(node, node.shape(0), node.shape(1)));
  }
  if (op == "MatMul") return matrix_product(node, ops::matmul_geometry(node, node.shape(0), node.shape(1)));
  if (op == "Gemm") return gemm(node);
  if (op == "Mul" || op == "Div") return elementwise(node);
  return {};
}

}  // namespace ember::auditing
