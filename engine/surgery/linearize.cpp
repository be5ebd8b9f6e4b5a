#include "surgery/linearize.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "ops/constant_value.hpp"
#include "ops/op.hpp"
#include "passes/rewrite.hpp"
#include "surgery/facts.hpp"

namespace ember::surgery {

namespace {

using graph::Graph;
using graph::kNoNode;
using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;
using passes::input_of;
using passes::is_op;

/// Rows with less than this share of their length outside the span of others depend on them.
constexpr double kDependent = 1e-7;
/// Larger factors would let rounding of the others show.
constexpr double kLargestFactor = 64.0;

/// [rows][columns].
struct Matrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<double> elements;

  Matrix(std::int64_t r, std::int64_t c)
      : rows(r), columns(c), elements(static_cast<std::size_t>(r * c), 0.0) {}
  double& at(std::int64_t r, std::int64_t c) { return elements[static_cast<std::size_t>(r * columns + c)]; }
  [[nodiscard]] double at(std::int64_t r, std::int64_t c) const {
    return elements[static_cast<std::size_t>(r * columns + c)];
  }
};

/// A matrix product with constant weights and a bias per column: Gemm, or MatMul and perhaps an Add.
struct Dense {
  NodeId node = kNoNode;
  NodeId add = kNoNode;
  int added = 0;         ///< which input of `add` is the bias
  Matrix weights{0, 0};  ///< [outputs][inputs]
  std::vector<double> bias;
};

const Tensor* own_constant(const Graph& graph, ValueId value) {
  const Tensor* tensor = ops::float_constant(graph, value);
  const bool own = tensor != nullptr && graph.users(value).size() == 1 && !graph.is_output(value);
  return own ? tensor : nullptr;
}

/// Nobody but `user` sees the value.
bool only_for(const Graph& graph, ValueId value, NodeId user) {
  return !graph.is_output(value) && graph.users(value) == std::vector<NodeId>{user};
}

/// Adds a constant of one element for each column, or of one for all, to the bias.
bool take_bias(Dense& dense, const Tensor* constant, double factor) {
  const auto columns = static_cast<std::int64_t>(dense.bias.size());
  const bool row = constant != nullptr && constant->elements() == columns && constant->shape().rank() > 0 &&
                   constant->shape()[constant->shape().rank() - 1] == columns;
  if (constant == nullptr || (!row && constant->elements() != 1)) return false;
  for (std::int64_t o = 0; o < columns; ++o)
    dense.bias[static_cast<std::size_t>(o)] += factor * number_at(*constant, row ? o : 0);
  return true;
}

/// The product at a node, by its result if an Add behind it is wanted too.
std::optional<Dense> dense_at(const Graph& graph, NodeId id) {
  if (id == kNoNode) return std::nullopt;
  const bool gemm = is_op(graph.node(id), "Gemm");
  if (!gemm && !is_op(graph.node(id), "MatMul")) return std::nullopt;
  const ops::NodeContext node(graph, id);
  const Tensor* weights = own_constant(graph, input_of(node.node(), 1));
  if (weights == nullptr || weights->shape().rank() != 2 || node.integer("transA", 0) != 0)
    return std::nullopt;
  const bool rows = node.integer("transB", 0) != 0;
  const double alpha = gemm ? static_cast<double>(node.real("alpha", 1.0F)) : 1.0;
  Dense dense;
  dense.node = id;
  dense.weights = Matrix(weights->shape()[rows ? 0 : 1], weights->shape()[rows ? 1 : 0]);
  for (std::int64_t o = 0; o < dense.weights.rows; ++o) {
    for (std::int64_t i = 0; i < dense.weights.columns; ++i) {
      const std::int64_t at = rows ? o * dense.weights.columns + i : i * dense.weights.rows + o;
      dense.weights.at(o, i) = alpha * number_at(*weights, at);
    }
  }
  dense.bias.assign(static_cast<std::size_t>(dense.weights.rows), 0.0);
  const ValueId bias = gemm ? input_of(node.node(), 2) : kNoValue;
  if (bias != kNoValue &&
      !take_bias(dense, own_constant(graph, bias), static_cast<double>(node.real("beta", 1.0F))))
    return std::nullopt;
  const ValueId result = node.node().outputs[0];
  if (gemm || graph.users(result).size() != 1) return dense;
  const NodeId add = graph.users(result).front();
  if (!is_op(graph.node(add), "Add") || !only_for(graph, result, add)) return dense;
  for (int i = 0; i < 2; ++i) {
    if (!take_bias(dense, own_constant(graph, input_of(graph.node(add), static_cast<std::size_t>(i))), 1.0))
      continue;
    dense.add = add;
    dense.added = i;
    break;
  }
  return dense;
}

ValueId result_of(const Graph& graph, const Dense& dense) {
  return graph.node(dense.add == kNoNode ? dense.node : dense.add).outputs[0];
}

Tensor tensor_of_bias(const std::vector<double>& bias) {
  std::vector<float> values;
  for (const double number : bias) values.push_back(static_cast<float>(number));
  return {Shape{static_cast<std::int64_t>(values.size())}, values};
}

/// Writes the layer back, in the form that it has.
void put(Graph& graph, const Dense& dense) {
  graph::Node& node = graph.node(dense.node);
  const bool gemm = is_op(node, "Gemm");
  const bool rows = gemm && ops::NodeContext(graph, dense.node).integer("transB", 0) != 0;
  const Matrix& w = dense.weights;
  std::vector<float> values;
  values.reserve(w.elements.size());
  for (std::int64_t i = 0; i < w.rows * w.columns; ++i)
    values.push_back(
        static_cast<float>(rows ? w.at(i / w.columns, i % w.columns) : w.at(i % w.rows, i / w.rows)));
  const auto replace = [&](NodeId id, int input, Tensor tensor, const std::string& otherwise) {
    const ValueId old = input_of(graph.node(id), static_cast<std::size_t>(input));
    if (old != kNoValue && graph.constant(old) != nullptr)
      return graph.make_constant(old, std::make_shared<const Tensor>(std::move(tensor)));
    const std::string name = old == kNoValue ? otherwise : graph.value(old).name;
    graph.set_input(id, input, graph.add_constant(name, std::move(tensor)));
  };
  const std::string name = graph.value(node.outputs[0]).name;
  replace(dense.node, 1, Tensor(rows ? Shape{w.rows, w.columns} : Shape{w.columns, w.rows}, values),
          name + "_weights");
  const bool biased = std::ranges::any_of(dense.bias, [](double b) { return b != 0.0; });
  if (gemm) {
    graph.node(dense.node).attributes["alpha"] = 1.0F;
    graph.node(dense.node).attributes["beta"] = 1.0F;
    if (biased || input_of(graph.node(dense.node), 2) != kNoValue)
      replace(dense.node, 2, tensor_of_bias(dense.bias), name + "_bias");
  } else if (dense.add != kNoNode) {
    replace(dense.add, dense.added, tensor_of_bias(dense.bias), name + "_bias");
  } else if (biased) {
    const ValueId result = graph.node(dense.node).outputs[0];
    const ValueId product =
        graph.add_value(name + "_product", graph.value(result).type, graph.value(result).dims);
    graph.set_output(dense.node, 0, product);
    graph::Node add{.op = "Add",
                    .inputs = {product, graph.add_constant(name + "_bias", tensor_of_bias(dense.bias))},
                    .outputs = {result}};
    if (!graph.node(dense.node).name.empty()) add.name = graph.node(dense.node).name + "_bias";
    const auto& order = graph.order();
    const auto next = std::next(std::ranges::find(order, dense.node));
    graph.add_node(std::move(add), next == order.end() ? kNoNode : *next);
  }
}

/// Which of some rows the others make up, and how: row = sum of factors * independent rows.
struct Dependence {
  std::vector<std::int64_t> independent, dependent;
  std::vector<std::vector<double>> factors;  ///< by dependent row, then by independent one
};

/// Gram-Schmidt, always going on with the row that has most left (twice over, for accuracy).
Dependence dependence_of(const Matrix& w, const std::vector<std::int64_t>& rows) {
  const auto length = [](const std::vector<double>& v) {
    return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
  };
  Dependence found;
  std::vector<std::vector<double>> left, directions, triangle;
  std::vector<double> whole;
  for (const std::int64_t row : rows) {
    left.emplace_back(w.elements.begin() + row * w.columns, w.elements.begin() + (row + 1) * w.columns);
    whole.push_back(length(left.back()));
  }
  std::vector<std::vector<double>> shares(rows.size());  // of each row along the directions so far
  std::vector<bool> taken(rows.size(), false);
  while (true) {
    std::size_t best = rows.size();
    double most = kDependent;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const double share = whole[i] > 0.0 ? length(left[i]) / whole[i] : 0.0;
      if (!taken[i] && share > most) {
        most = share;
        best = i;
      }
    }
    if (best == rows.size()) break;
    taken[best] = true;
    found.independent.push_back(rows[best]);
    std::vector<double> direction = left[best];
    const double size = length(direction);
    for (double& element : direction) element /= size;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (taken[i] && i != best) continue;
      double share = 0.0;
      for (int again = 0; again < 2; ++again) {
        const double more = std::inner_product(direction.begin(), direction.end(), left[i].begin(), 0.0);
        for (std::size_t at = 0; at < direction.size(); ++at) left[i][at] -= more * direction[at];
        share += more;
      }
      shares[i].push_back(share);
    }
    triangle.push_back(shares[best]);  // the row along all directions up to its own
    directions.push_back(std::move(direction));
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (taken[i]) continue;
    // Sum_k factor_k * triangle[k][j] = shares[i][j] for every direction j: the last row alone has the last.
    std::vector<double> factors(directions.size(), 0.0);
    for (std::size_t j = directions.size(); j-- > 0;) {
      double rest = shares[i][j];
      for (std::size_t k = j + 1; k < directions.size(); ++k) rest -= factors[k] * triangle[k][j];
      factors[j] = rest / triangle[j][j];
    }
    const bool tame = std::ranges::all_of(factors, [](double f) { return std::abs(f) <= kLargestFactor; });
    if (!tame) continue;
    found.dependent.push_back(rows[i]);
    found.factors.push_back(std::move(factors));
  }
  return found;
}

Matrix without(const Matrix& matrix, const std::vector<std::int64_t>& gone, bool rows) {
  const auto count = static_cast<std::int64_t>(gone.size());
  Matrix result(matrix.rows - (rows ? count : 0), matrix.columns - (rows ? 0 : count));
  std::size_t to = 0;
  for (std::int64_t r = 0; r < matrix.rows; ++r) {
    for (std::int64_t c = 0; c < matrix.columns; ++c) {
      if (!std::ranges::binary_search(gone, rows ? r : c)) result.elements[to++] = matrix.at(r, c);
    }
  }
  return result;
}

/// The two products around an activation that nobody else sees.
struct Pair {
  NodeId activation = kNoNode;
  Dense first, second;
  Dense passed;  ///< the first as it is behind the activation
};

/// What a layer gives behind its activation, for the units that are linear there.
Dense scaled(const Dense& dense, const StablyActive& active) {
  Dense result = dense;
  for (std::size_t i = 0; i < active.slopes.size(); ++i) {
    const std::int64_t unit = active.units[i];
    result.bias[static_cast<std::size_t>(unit)] *= active.slopes[i];
    for (std::int64_t input = 0; input < dense.weights.columns; ++input)
      result.weights.at(unit, input) *= active.slopes[i];
  }
  return result;
}

std::optional<Pair> pair_around(const Graph& graph, const StablyActive& active, std::string& why) {
  const ValueId value = active.value;
  constexpr std::array<std::string_view, 7> kUniform = {"Relu", "LeakyRelu", "Clip",           "Elu",
                                                        "Selu", "Celu",      "ThresholdedRelu"};
  const NodeId activation = graph.value(value).producer;
  if (activation == kNoNode || std::ranges::none_of(kUniform, [&](std::string_view op) {
        return is_op(graph.node(activation), op);
      })) {
    why = "the activation is several nodes, or has parameters of its own per unit";
    return std::nullopt;
  }
  const ValueId before = graph.node(activation).inputs[0];
  NodeId maker = graph.value(before).producer;
  if (maker != kNoNode && is_op(graph.node(maker), "Add")) {
    for (const ValueId input : graph.node(maker).inputs) {
      const NodeId product = graph.value(input).producer;
      if (product != kNoNode && is_op(graph.node(product), "MatMul")) {
        maker = product;
        break;
      }
    }
  }
  const auto first = dense_at(graph, maker);
  const std::vector<NodeId>& readers = graph.users(value);
  const auto second =
      readers.size() == 1 && !graph.is_output(value) ? dense_at(graph, readers.front()) : std::nullopt;
  if (!first || !second || result_of(graph, *first) != before || !only_for(graph, before, activation) ||
      graph.node(second->node).inputs[0] != value || second->weights.columns != first->weights.rows) {
    why = "it is not between two matrix products with constant weights of their own";
    return std::nullopt;
  }
  return Pair{.activation = activation, .first = *first, .second = *second, .passed = scaled(*first, active)};
}

void shrink_dims(Graph& graph, ValueId value, std::int64_t extent) {
  auto& dims = graph.value(value).dims;
  if (dims.has_value() && !dims->empty() && dims->back().size >= 0) dims->back().size = extent;
}

void merge(Graph& graph, Pair pair) {
  const Matrix& inner = pair.passed.weights;
  Dense& outer = pair.second;
  Matrix product(outer.weights.rows, inner.columns);
  for (std::int64_t o = 0; o < product.rows; ++o) {
    for (std::int64_t h = 0; h < inner.rows; ++h) {
      const double weight = outer.weights.at(o, h);
      outer.bias[static_cast<std::size_t>(o)] += weight * pair.passed.bias[static_cast<std::size_t>(h)];
      for (std::int64_t i = 0; i < inner.columns; ++i) product.at(o, i) += weight * inner.at(h, i);
    }
  }
  outer.weights = std::move(product);
  graph.set_input(outer.node, 0, graph.node(pair.first.node).inputs[0]);
  put(graph, outer);
  graph.remove_node(pair.activation);
  if (pair.first.add != kNoNode) graph.remove_node(pair.first.add);
  graph.remove_node(pair.first.node);
  graph.remove_dead();
}

void take_over(Graph& graph, Pair pair, const Dependence& dependence, int channel_axis, Linearized& layer) {
  Dense& first = pair.first;
  Dense& second = pair.second;
  for (std::size_t d = 0; d < dependence.dependent.size(); ++d) {
    const std::int64_t gone = dependence.dependent[d];
    const std::vector<double>& biases = pair.passed.bias;
    double offset = biases[static_cast<std::size_t>(gone)];
    for (std::size_t k = 0; k < dependence.independent.size(); ++k) {
      const std::int64_t unit = dependence.independent[k];
      const double factor = dependence.factors[d][k];
      offset -= factor * biases[static_cast<std::size_t>(unit)];
      for (std::int64_t o = 0; o < second.weights.rows; ++o)
        second.weights.at(o, unit) += factor * second.weights.at(o, gone);
    }
    for (std::int64_t o = 0; o < second.weights.rows; ++o)
      second.bias[static_cast<std::size_t>(o)] += offset * second.weights.at(o, gone);
  }
  first.weights = without(first.weights, layer.gone, true);
  second.weights = without(second.weights, layer.gone, false);
  std::vector<double> bias;
  for (std::size_t o = 0; o < first.bias.size(); ++o) {
    if (!std::ranges::binary_search(layer.gone, static_cast<std::int64_t>(o))) bias.push_back(first.bias[o]);
  }
  first.bias = std::move(bias);
  put(graph, first);
  put(graph, second);
  const auto axis = [&](const Dense& dense, bool outputs) {
    const bool rows = ops::NodeContext(graph, dense.node).integer("transB", 0) != 0;
    return rows == outputs ? 0 : 1;
  };
  const ValueId before = graph.node(pair.activation).inputs[0];
  for (const ValueId value : std::set<ValueId>{graph.node(first.node).outputs[0], before, layer.value}) {
    shrink_dims(graph, value, first.weights.rows);
    layer.cut.emplace_back(graph.value(value).name, channel_axis);
  }
  layer.cut.emplace_back(graph.value(graph.node(first.node).inputs[1]).name, axis(first, true));
  const ValueId shift = first.add != kNoNode
                            ? input_of(graph.node(first.add), static_cast<std::size_t>(first.added))
                            : input_of(graph.node(first.node), 2);
  if (shift != kNoValue) layer.cut.emplace_back(graph.value(shift).name, 0);
  layer.cut.emplace_back(graph.value(graph.node(second.node).inputs[1]).name, axis(second, false));
}

Linearized linearize_layer(Graph& graph, const StablyActive& active) {
  Linearized layer;
  layer.value = active.value;
  const auto pair = pair_around(graph, active, layer.refusal);
  if (!pair.has_value()) return layer;
  const std::int64_t inputs = pair->first.weights.columns;
  const std::int64_t units = pair->first.weights.rows;
  const std::int64_t outputs = pair->second.weights.rows;
  layer.units = units;
  const auto on = static_cast<std::int64_t>(active.units.size());
  const std::int64_t by_merging = units * (inputs + outputs) - inputs * outputs;
  const Dependence dependence = dependence_of(pair->passed.weights, active.units);
  // A layer without units is no layer.
  const auto dependent = static_cast<std::int64_t>(dependence.dependent.size());
  const std::int64_t by_taking_over = dependent < units ? dependent * (inputs + outputs) : 0;
  if (on == units && by_merging > 0 && by_merging >= by_taking_over) {
    layer.merged = true;
    layer.gone = active.units;
    layer.saved = by_merging;
    merge(graph, *pair);
  } else if (by_taking_over > 0) {
    layer.gone = dependence.dependent;
    std::ranges::sort(layer.gone);
    layer.saved = by_taking_over;
    take_over(graph, *pair, dependence, active.axis, layer);
  } else if (on == units) {
    layer.refusal = fmt::format("one product would take {} multiplications, the two take {}",
                                inputs * outputs, units * (inputs + outputs));
  } else {
    layer.refusal = fmt::format(
        "{} of {} units are stably active and their weights do not depend on each other", on, units);
  }
  return layer;
}

}  // namespace

Linearization linearize(const Graph& graph, const std::vector<StablyActive>& layers) {
  auto changed = std::make_shared<Graph>(graph);
  Linearization result;
  for (const StablyActive& active : layers) result.layers.push_back(linearize_layer(*changed, active));
  graph::verify(*changed);
  result.graph = std::move(changed);
  return result;
}

}  // namespace ember::surgery
