#include "audit/formulas.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "ops/broadcast_walk.hpp"
#include "ops/typed.hpp"
#include "runtime/session_impl.hpp"

namespace ember::auditing {

namespace {

constexpr std::array kRules = {copy_formulas,   sum_formulas,       product_formulas,
                               window_formulas, pointwise_formulas, normalization_formulas};

template <class T>
Interval limits() {
  return {static_cast<double>(std::numeric_limits<T>::lowest()),
          static_cast<double>(std::numeric_limits<T>::max())};
}

Interval range_of(DataType type) {
  switch (type) {
    case DataType::Int8: return limits<std::int8_t>();
    case DataType::Int16: return limits<std::int16_t>();
    case DataType::Int32: return limits<std::int32_t>();
    case DataType::UInt8: return limits<std::uint8_t>();
    case DataType::UInt16: return limits<std::uint16_t>();
    case DataType::UInt32: return limits<std::uint32_t>();
    case DataType::Bool: return {0.0, 1.0};
    default: return {};
  }
}

plan::Specialized specialized(const Model& model, const std::map<std::string, Shape>& shapes) {
  const auto graph = runtime::optimized_graph(model);
  plan::Specialized network = plan::specialize(*graph, plan::resolve_input_shapes(*graph, shapes));
  plan::widen_halves(network);
  plan::merge_activations(network, {});
  return network;
}

}  // namespace

/// Walks the graph and asks the rules.
class FormulaBuilder {
 public:
  explicit FormulaBuilder(Formulas& target) : t_(target), of_(t_.network_.graph.value_count(), -1) {}

  void run() {
    const graph::Graph& graph = t_.network_.graph;
    for (const graph::ValueId v : graph.inputs) {
      if (graph.constant(v) != nullptr) continue;
      t_.inputs_.push_back(add(v));
    }
    for (const graph::NodeId id : graph.order()) visit(id);
  }

 private:
  int add(graph::ValueId v) {
    const plan::Fact& fact = t_.network_.fact(v);
    Variable variable{.name = t_.network_.graph.value(v).name, .range = range_of(fact.type)};
    variable.known =
        fact.shape.has_value() && fact.shape->elements() <= std::numeric_limits<std::int32_t>::max();
    if (variable.known) variable.shape = *fact.shape;
    const int index = static_cast<int>(t_.variables_.size());
    t_.by_name_.emplace(variable.name, index);
    t_.variables_.push_back(std::move(variable));
    of_[static_cast<std::size_t>(v)] = index;
    return index;
  }

  void visit(graph::NodeId id) {
    const graph::Graph& graph = t_.network_.graph;
    const graph::Node& node = graph.node(id);
    for (const graph::ValueId v : node.outputs) {
      if (v != graph::kNoValue && graph.constant(v) == nullptr) add(v);
    }
    NodeFormulas made = formulas_of(id);
    std::vector<int> intermediates;
    for (auto& formula : made) {
      formula->node = graph.label(id);
      formula->op = node.op;
      for (int& input : formula->inputs) {
        if (input <= -2) input = intermediates.at(static_cast<std::size_t>(-2 - input));
      }
      if (formula->output <= -2) {
        // Elements as the formula's first input has them.
        intermediates.push_back(static_cast<int>(t_.variables_.size()));
        formula->output = intermediates.back();
        t_.variables_.push_back({.shape = t_.variable(formula->inputs[0]).shape});
      } else {
        const graph::ValueId v = node.outputs[static_cast<std::size_t>(formula->output)];
        if (v == graph::kNoValue || of_[static_cast<std::size_t>(v)] < 0) continue;
        formula->output = of_[static_cast<std::size_t>(v)];
      }
      t_.variables_[static_cast<std::size_t>(formula->output)].formula =
          static_cast<int>(t_.formulas_.size());
      t_.formulas_.push_back(std::move(formula));
    }
    for (const graph::ValueId v : node.outputs) {
      if (v != graph::kNoValue && graph.constant(v) == nullptr) leave_opaque(id, v);
    }
  }

  NodeFormulas formulas_of(graph::NodeId id) {
    const graph::Node& node = t_.network_.graph.node(id);
    const auto known = [&](graph::ValueId v) {
      const int variable = v == graph::kNoValue ? -1 : of_[static_cast<std::size_t>(v)];
      return variable < 0 || t_.variable(variable).known;
    };
    if (!node.domain.empty() || !std::ranges::all_of(node.inputs, known) ||
        !std::ranges::all_of(node.outputs, known) || node.outputs.empty()) {
      return {};
    }
    const FormulaNode view(t_.network_, id, of_);
    for (const FormulaMaker rule : kRules) {
      if (NodeFormulas made = rule(view); !made.empty()) return made;
    }
    return {};
  }

  /// An output without a formula has one that says nothing.
  void leave_opaque(graph::NodeId id, graph::ValueId v) {
    const int variable = of_[static_cast<std::size_t>(v)];
    if (t_.variable(variable).formula >= 0) return;
    const graph::Node& node = t_.network_.graph.node(id);
    auto formula = std::make_unique<OpaqueFormula>();
    formula->node = t_.network_.graph.label(id);
    formula->op = node.op;
    formula->output = variable;
    for (const graph::ValueId input : node.inputs) {
      const int read = input == graph::kNoValue ? -1 : of_[static_cast<std::size_t>(input)];
      if (read >= 0) formula->inputs.push_back(read);
    }
    t_.variables_[static_cast<std::size_t>(variable)].formula = static_cast<int>(t_.formulas_.size());
    t_.formulas_.push_back(std::move(formula));
  }

  Formulas& t_;
  std::vector<int> of_;  ///< variable by ValueId, -1: none
};

Formulas::Formulas(const Model& model, const std::map<std::string, Shape>& input_shapes)
    : network_(specialized(model, input_shapes)) {
  FormulaBuilder(*this).run();
}

int Formulas::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? -1 : found->second;
}

std::vector<std::string> Formulas::without_rule() const {
  std::vector<std::string> lines;
  std::set<std::string> seen;
  for (const auto& formula : formulas_) {
    if (formula->opaque() == nullptr || formula->opaque()->bounded) continue;
    if (!seen.insert(formula->node).second) continue;
    lines.push_back(fmt::format("{} ({})", formula->op, formula->node));
  }
  return lines;
}

std::vector<double> FormulaNode::doubles(int i) const {
  const Tensor& tensor = *constant(i);
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(tensor.elements()));
  ops::dispatch_any(*this, tensor.type(), [&](auto zero) {
    for (const auto value : tensor.data<decltype(zero)>())
      values.push_back(static_cast<double>(ops::widen(value)));
  });
  return values;
}

std::vector<std::int64_t> FormulaNode::integers_of(int i) const {
  std::vector<std::int64_t> values;
  for (const double value : doubles(i)) values.push_back(static_cast<std::int64_t>(value));
  return values;
}

std::vector<std::int32_t> broadcast_indices(const Shape& result, const Shape& operand) {
  std::vector<std::int32_t> indices(static_cast<std::size_t>(result.elements()));
  ops::BroadcastWalk walk(result, {operand});
  for (std::int32_t& index : indices) {
    index = static_cast<std::int32_t>(walk.offset(0));
    walk.next();
  }
  return indices;
}

}  // namespace ember::auditing
