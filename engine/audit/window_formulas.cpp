#include <cstddef>
#include <utility>
#include <vector>

#include "audit/formulas.hpp"
#include "ops/axes.hpp"
#include "ops/broadcast_walk.hpp"
#include "ops/pool_geometry.hpp"
#include "ops/resize_geometry.hpp"

// Sums, means and maxima over groups of elements: pools, reductions, Max and Min; and Resize.

namespace ember::auditing {

namespace {

/// The input elements that each output element is made of.
class Groups {
 public:
  /// The windows of a pool over planes of `inputs` elements.
  explicit Groups(const ops::Windows& windows) : windows_(windows), pool_(true) {}
  /// `of[i]`: the output element that input element i goes into.
  Groups(std::span<const std::int32_t> of, std::int64_t outputs)
      : begin_(static_cast<std::size_t>(outputs) + 1), elements_(of.size()) {
    for (const std::int32_t o : of) ++begin_[static_cast<std::size_t>(o) + 1];
    for (std::size_t i = 1; i < begin_.size(); ++i) begin_[i] += begin_[i - 1];
    std::vector<std::int64_t> next(begin_.begin(), begin_.end() - 1);
    for (std::size_t i = 0; i < of.size(); ++i)
      elements_[static_cast<std::size_t>(next[static_cast<std::size_t>(of[i])]++)] =
          static_cast<std::int32_t>(i);
  }

  template <class F>
  void for_each(std::int64_t o, F&& f) const {
    if (!pool_) {
      for (std::int64_t i = begin_[static_cast<std::size_t>(o)]; i < begin_[static_cast<std::size_t>(o) + 1];
           ++i)
        f(elements_[static_cast<std::size_t>(i)]);
      return;
    }
    const std::int64_t plane = o / windows_.outputs() * windows_.inputs();
    ops::for_each_tap(windows_, position(o),
                      [&](std::int64_t x, std::int64_t) { f(static_cast<std::int32_t>(plane + x)); });
  }
  [[nodiscard]] ops::Position position(std::int64_t o) const {
    const auto& [depth, height, width] = windows_.axes;
    const std::int64_t p = o % windows_.outputs();
    return {p / width.output / height.output, p / width.output % height.output, p % width.output};
  }
  [[nodiscard]] const ops::Windows& windows() const noexcept { return windows_; }
  [[nodiscard]] double mean_size() const {
    return pool_ ? static_cast<double>(windows_.taps())
                 : static_cast<double>(elements_.size()) /
                       static_cast<double>(std::max<std::size_t>(1, begin_.size() - 1));
  }

 private:
  ops::Windows windows_;
  bool pool_ = false;
  std::vector<std::int64_t> begin_;
  std::vector<std::int32_t> elements_;
};

class GroupSum final : public LinearFormula {
 public:
  explicit GroupSum(Groups members) : groups(std::move(members)) {}
  Groups groups;
  enum class Divide : std::uint8_t { No, ByCount, ByTaps } divide = Divide::No;
  bool include_padding = false;

  void row(std::int64_t o, LinearRow& row) const override {
    row.clear();
    groups.for_each(o, [&](std::int32_t i) { row.terms.push_back({.index = i}); });
    double count = 1.0;
    if (divide == Divide::ByCount) {
      count = static_cast<double>(row.terms.size());
    } else if (divide == Divide::ByTaps) {
      const ops::Position position = groups.position(o);
      for (std::size_t axis = 0; axis < position.size(); ++axis) {
        count *= static_cast<double>(
            ops::averaged_taps(groups.windows().axes[axis], position[axis], include_padding));
      }
    }
    for (Term& term : row.terms) term.weight = 1.0 / count;
  }
  [[nodiscard]] double terms_per_row() const override { return groups.mean_size(); }
};

class GroupMaximum final : public MaximumFormula {
 public:
  explicit GroupMaximum(Groups members) : groups(std::move(members)) {}
  Groups groups;

  void row(std::int64_t o, std::vector<Element>& elements) const override {
    elements.clear();
    groups.for_each(o, [&](std::int32_t i) { elements.push_back({.index = i}); });
  }
};

/// Max or Min of operands; those that are constant are a known element.
class OperandMaximum final : public MaximumFormula {
 public:
  std::vector<std::vector<std::int32_t>> index;  ///< by input

  void row(std::int64_t o, std::vector<Element>& elements) const override {
    elements.clear();
    for (std::size_t i = 0; i < index.size(); ++i)
      elements.push_back(
          {.input = static_cast<std::int32_t>(i), .index = index[i][static_cast<std::size_t>(o)]});
  }
};

class ResizeFormula final : public LinearFormula {
 public:
  std::vector<ops::AxisTaps> axes;
  Shape input, result;
  double extrapolation = 0.0;

  void row(std::int64_t o, LinearRow& row) const override {
    row.clear();
    std::vector<std::pair<std::int64_t, double>> partial = {{0, 1.0}};
    std::vector<std::pair<std::int64_t, double>> next;
    std::int64_t inner = result.elements();
    for (int axis = 0; axis < result.rank(); ++axis) {
      inner /= result[axis];
      const auto at = static_cast<std::size_t>(o / inner % result[axis]);
      const ops::AxisTaps& taps = axes[static_cast<std::size_t>(axis)];
      if (!taps.outside.empty() && taps.outside[at]) {
        row.set_constant(extrapolation);
        return;
      }
      next.clear();
      for (const auto& [offset, weight] : partial) {
        for (std::size_t t = 0; t < static_cast<std::size_t>(taps.taps); ++t) {
          const std::size_t tap = at * static_cast<std::size_t>(taps.taps) + t;
          next.emplace_back(offset * input[axis] + taps.index[tap], weight * taps.weight[tap]);
        }
      }
      partial.swap(next);
    }
    for (const auto& [offset, weight] : partial) {
      if (weight != 0.0) row.terms.push_back({.index = static_cast<std::int32_t>(offset), .weight = weight});
    }
  }
  [[nodiscard]] double terms_per_row() const override { return 4.0; }
};

NodeFormulas pool(const FormulaNode& node) {
  const bool average = node.op() == "AveragePool";
  if (!average && node.has_output(1)) return {};
  Groups groups(ops::pool_geometry(node, node.shape(0)));
  if (!average) {
    auto formula = std::make_unique<GroupMaximum>(std::move(groups));
    formula->inputs = {node.variable(0)};
    formula->output = 0;
    return one(std::move(formula));
  }
  auto formula = std::make_unique<GroupSum>(std::move(groups));
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  formula->divide = GroupSum::Divide::ByTaps;
  formula->include_padding = node.integer("count_include_pad", 0) != 0;
  return one(std::move(formula));
}

/// Which output element each input element is reduced into.
std::vector<std::int32_t> reduced_into(const Shape& shape, const Shape& kept) {
  std::vector<std::int32_t> of(static_cast<std::size_t>(shape.elements()));
  ops::BroadcastWalk walk(shape, {kept});
  for (std::int32_t& o : of) {
    o = static_cast<std::int32_t>(walk.offset(0));
    walk.next();
  }
  return of;
}

Shape kept_shape(const FormulaNode& node) {
  const Shape& shape = node.shape(0);
  if (node.op().starts_with("Global")) {
    Shape kept = shape;
    for (int axis = 2; axis < shape.rank(); ++axis) kept = kept.with(axis, 1);
    return kept;
  }
  const bool from_input = ops::reduction_axes_are_input(node);
  std::vector<std::int64_t> given = from_input ? std::vector<std::int64_t>() : node.integers("axes");
  if (from_input && node.has_input(1)) given = node.integers_of(1);
  return ops::reduced_shape(shape, ops::reduction_axes(node, shape.rank(), from_input, given), true);
}

NodeFormulas reduction(const FormulaNode& node) {
  const std::string_view op = node.op();
  if (node.has_input(1) && node.is_variable(1)) return {};
  const Shape kept = kept_shape(node);
  Groups groups(reduced_into(node.shape(0), kept), kept.elements());
  if (op == "ReduceMax" || op == "ReduceMin" || op == "GlobalMaxPool") {
    auto formula = std::make_unique<GroupMaximum>(std::move(groups));
    formula->inputs = {node.variable(0)};
    formula->output = 0;
    formula->smallest = op == "ReduceMin";
    return one(std::move(formula));
  }
  auto formula = std::make_unique<GroupSum>(std::move(groups));
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  formula->divide = op == "ReduceSum" ? GroupSum::Divide::No : GroupSum::Divide::ByCount;
  return one(std::move(formula));
}

NodeFormulas operand_maximum(const FormulaNode& node) {
  auto formula = std::make_unique<OperandMaximum>();
  formula->output = 0;
  formula->smallest = node.op() == "Min";
  for (int i = 0; i < node.input_count(); ++i) {
    if (!node.is_variable(i)) return {};
    formula->inputs.push_back(node.variable(i));
    formula->index.push_back(broadcast_indices(node.output_shape(), node.shape(i)));
  }
  return one(std::move(formula));
}

NodeFormulas resize(const FormulaNode& node) {
  const ops::ResizeInputs at = ops::resize_inputs(node);
  for (int i = 1; i < node.input_count(); ++i) {
    if (node.is_variable(i)) return {};
  }
  const auto operand = [&](int i) -> const Tensor* {
    const Tensor* tensor = i < 0 ? nullptr : node.constant(i);
    return tensor != nullptr && tensor->elements() > 0 ? tensor : nullptr;
  };
  const ops::ResizeGeometry geometry = ops::resize_geometry(
      node, node.shape(0),
      {.roi = operand(at.roi), .scales = operand(at.scales), .sizes = operand(at.sizes)});
  auto formula = std::make_unique<ResizeFormula>();
  for (const ops::ResizeAxis& axis : geometry.axes) formula->axes.push_back(axis_taps(node, geometry, axis));
  formula->inputs = {node.variable(0)};
  formula->output = 0;
  formula->input = node.shape(0);
  formula->result = node.output_shape();
  formula->extrapolation = double{geometry.extrapolation};
  formula->exact = geometry.mode == ops::ResizeMode::Nearest;
  formula->roundings = 40;  // weights are themselves rounded
  formula->direct = false;
  return one(std::move(formula));
}

}  // namespace

NodeFormulas window_formulas(const FormulaNode& node) {
  const std::string_view op = node.op();
  if (!node.is_variable(0) || node.output_type() != DataType::Float32) return {};
  if (op == "AveragePool" || op == "MaxPool") return pool(node);
  if (op == "GlobalAveragePool" || op == "GlobalMaxPool" || op == "ReduceMean" || op == "ReduceSum" ||
      op == "ReduceMax" || op == "ReduceMin") {
    return reduction(node);
  }
  if (op == "Max" || op == "Min") return operand_maximum(node);
  if (op == "Resize" || op == "Upsample") return resize(node);
  return {};
}

}  // namespace ember::auditing
