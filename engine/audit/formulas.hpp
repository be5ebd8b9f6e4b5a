#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ember/model.hpp>

#include "audit/formula.hpp"
#include "ops/op.hpp"
#include "plan/specialize.hpp"

namespace ember::auditing {

/// A whole network as formulas, in the order in which they can be evaluated. What constants decide is not
/// part of it.
class Formulas {
 public:
  /// The network as a session of `model` computes it (after its passes) for inputs of these shapes.
  Formulas(const Model& model, const std::map<std::string, Shape>& input_shapes);
  Formulas(const Formulas&) = delete;
  Formulas& operator=(const Formulas&) = delete;

  [[nodiscard]] const std::vector<Variable>& variables() const noexcept { return variables_; }
  [[nodiscard]] const Variable& variable(int i) const { return variables_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] const std::vector<std::unique_ptr<Formula>>& all() const noexcept { return formulas_; }
  [[nodiscard]] const std::vector<int>& inputs() const noexcept { return inputs_; }
  /// The variable of an ONNX value, -1 when it is none (a constant, or absorbed by a pass).
  [[nodiscard]] int find(std::string_view name) const;
  /// Operators of which nothing but the type's range is known: "Loop (node)", each once.
  [[nodiscard]] std::vector<std::string> without_rule() const;

 private:
  friend class FormulaBuilder;
  plan::Specialized network_;
  std::vector<Variable> variables_;
  std::vector<std::unique_ptr<Formula>> formulas_;
  std::vector<int> inputs_;
  std::map<std::string, int, std::less<>> by_name_;
};

/// A node seen by the function that writes out its formulas.
class FormulaNode : public ops::NodeContext {
 public:
  FormulaNode(const plan::Specialized& network, graph::NodeId id, std::span<const int> variables)
      : NodeContext(network.graph, id), network_(&network), variables_(variables) {}

  /// The elements of input i are known.
  [[nodiscard]] const Tensor* constant(int i) const {
    return has_input(i) ? graph().constant(node().inputs[static_cast<std::size_t>(i)]) : nullptr;
  }
  [[nodiscard]] bool is_variable(int i) const { return has_input(i) && constant(i) == nullptr; }
  /// The variable that input i is.
  [[nodiscard]] int variable(int i) const {
    return variables_[static_cast<std::size_t>(node().inputs[static_cast<std::size_t>(i)])];
  }
  [[nodiscard]] const Shape& shape(int i) const {
    return *network_->fact(node().inputs[static_cast<std::size_t>(i)]).shape;
  }
  [[nodiscard]] DataType type(int i) const {
    return network_->fact(node().inputs[static_cast<std::size_t>(i)]).type;
  }
  [[nodiscard]] const Shape& output_shape(int i = 0) const {
    return *network_->fact(node().outputs[static_cast<std::size_t>(i)]).shape;
  }
  [[nodiscard]] DataType output_type(int i = 0) const {
    return network_->fact(node().outputs[static_cast<std::size_t>(i)]).type;
  }
  [[nodiscard]] std::int64_t size(int i) const { return shape(i).elements(); }
  /// Input i, a constant of any number type, as doubles.
  [[nodiscard]] std::vector<double> doubles(int i) const;
  /// Input i, a constant of float32; lives as long as the network's formulas.
  [[nodiscard]] std::span<const float> floats(int i) const { return constant(i)->data<float>(); }
  /// Input i, a constant of integers.
  [[nodiscard]] std::vector<std::int64_t> integers_of(int i) const;
  using NodeContext::integers;

 private:
  const plan::Specialized* network_;
  std::span<const int> variables_;
};

/// Formulas of one node: for each of its outputs, or none when there is no rule. A formula may also have
/// an intermediate output (-2, -3, …) that later ones of the list name as their input.
using NodeFormulas = std::vector<std::unique_ptr<Formula>>;
using FormulaMaker = NodeFormulas (*)(const FormulaNode& node);

// The rules, by family; each returns nothing for an operator that is not its own.
NodeFormulas copy_formulas(const FormulaNode& node);
NodeFormulas sum_formulas(const FormulaNode& node);
NodeFormulas product_formulas(const FormulaNode& node);
NodeFormulas window_formulas(const FormulaNode& node);
NodeFormulas pointwise_formulas(const FormulaNode& node);
NodeFormulas normalization_formulas(const FormulaNode& node);

/// 1 / variable, as the intermediate -2.
std::unique_ptr<Formula> reciprocal_formula(int variable);

/// The element of an operand (broadcast) that goes with each element of the result.
std::vector<std::int32_t> broadcast_indices(const Shape& result, const Shape& operand);

template <class F>
NodeFormulas one(std::unique_ptr<F> formula) {
  NodeFormulas list;
  list.push_back(std::move(formula));
  return list;
}

}  // namespace ember::auditing
