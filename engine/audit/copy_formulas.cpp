#include <array>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include <ember/error.hpp>

#include "audit/formulas.hpp"
#include "ops/interpreter.hpp"
#include "ops/pad.hpp"

// Operators that only move elements. Which element goes where is found by running the operator's reference on
// a tensor of element numbers, so that no operator's geometry is written down twice.

namespace ember::auditing {

namespace {

/// Where the data of an operator are; all other inputs say how they move and must be constant.
struct Mover {
  std::string_view op;
  unsigned data;  ///< bit i: input i holds data; bit 31: all do
};
constexpr unsigned kAll = 1U << 31;
constexpr std::array<Mover, 22> kMovers = {{{"Identity", 1},     {"Reshape", 1},
                                            {"Flatten", 1},      {"Squeeze", 1},
                                            {"Unsqueeze", 1},    {"Transpose", 1},
                                            {"Slice", 1},        {"Split", 1},
                                            {"Gather", 1},       {"GatherElements", 1},
                                            {"GatherND", 1},     {"Expand", 1},
                                            {"Tile", 1},         {"DepthToSpace", 1},
                                            {"SpaceToDepth", 1}, {"ReverseSequence", 1},
                                            {"Trilu", 1},        {"Compress", 1},
                                            {"Pad", 1 | 4},      {"Concat", kAll},
                                            {"Where", 2 | 4},    {"ScatterElements", 1 | 4}}};

/// output = the element or the constant that a code names: positive: element code − 1 of all inputs in a row,
/// negative: constant −code − 1, zero: 0.
class CopyFormula final : public LinearFormula {
 public:
  std::vector<std::int64_t> codes;
  std::vector<std::pair<std::int64_t, std::int32_t>> starts;  ///< first code of each input, ascending
  std::vector<double> constants;

  void row(std::int64_t o, LinearRow& row) const override {
    row.clear();
    const std::int64_t code = codes[static_cast<std::size_t>(o)];
    if (code < 0) {
      row.set_constant(constants[static_cast<std::size_t>(-code - 1)]);
    } else if (code > 0) {
      std::size_t at = starts.size() - 1;
      while (starts[at].first > code) --at;
      row.terms.push_back(
          {.input = starts[at].second, .index = static_cast<std::int32_t>(code - starts[at].first)});
    }
  }
  [[nodiscard]] double terms_per_row() const override { return 1.0; }
};

const Mover* mover_of(const FormulaNode& node) {
  for (const Mover& mover : kMovers) {
    if (mover.op == node.op()) return &mover;
  }
  return nullptr;
}

/// The element numbers of the node's data inputs as tensors.
struct Numbered {
  std::vector<Tensor> tensors;          ///< by input; empty for what is passed as it is
  std::vector<const Tensor*> pointers;  ///< what the reference is given
  std::vector<std::pair<std::int64_t, std::int32_t>> starts;
  std::vector<double> constants;
  std::vector<int> variables;
};

bool number_elements(const FormulaNode& node, unsigned data, Numbered& numbered) {
  std::int64_t next = 1;
  const auto count = static_cast<std::size_t>(node.input_count());
  numbered.tensors.resize(count);
  numbered.pointers.assign(count, nullptr);
  for (int i = 0; i < node.input_count(); ++i) {
    if (!node.has_input(i)) continue;
    const auto at = static_cast<std::size_t>(i);
    const bool is_data = data == kAll || (data >> i & 1U) != 0;
    if (!is_data) {
      if (node.is_variable(i)) return false;
      numbered.pointers[at] = node.constant(i);
      continue;
    }
    Tensor numbers(DataType::Int64, node.shape(i));
    if (node.is_variable(i)) {
      numbered.starts.emplace_back(next, static_cast<std::int32_t>(numbered.variables.size()));
      numbered.variables.push_back(node.variable(i));
      for (std::int64_t& number : numbers.data<std::int64_t>()) number = next++;
    } else {
      std::size_t element = 0;
      const std::vector<double> values = node.doubles(i);
      for (std::int64_t& number : numbers.data<std::int64_t>()) {
        numbered.constants.push_back(values[element++]);
        number = -static_cast<std::int64_t>(numbered.constants.size());
      }
    }
    numbered.tensors[at] = std::move(numbers);
    numbered.pointers[at] = &numbered.tensors[at];
  }
  return !numbered.variables.empty();
}

}  // namespace

NodeFormulas copy_formulas(const FormulaNode& node) {
  const Mover* mover = mover_of(node);
  if (mover == nullptr) return {};
  // Before opset 11 the value to pad with is an attribute, which stands for no element.
  if (node.op() == "Pad" && node.opset() < 11 && node.real("value", 0.0F) != 0.0F) return {};
  if (node.op() == "ScatterElements" && node.text("reduction", "none") != "none") return {};
  Numbered numbered;
  if (!number_elements(node, mover->data, numbered)) return {};
  std::vector<Tensor> made;
  try {
    made = ops::evaluate_node(node.graph(), node.id(), numbered.pointers);
  } catch (const Error&) {
    return {};  // the reference does not take integers here: the operator has no rule
  }
  NodeFormulas formulas;
  for (std::size_t i = 0; i < made.size(); ++i) {
    if (!node.has_output(static_cast<int>(i))) continue;
    auto formula = std::make_unique<CopyFormula>();
    formula->inputs = numbered.variables;
    formula->output = static_cast<int>(i);
    formula->exact = true;
    formula->starts = numbered.starts;
    formula->constants = numbered.constants;
    const auto codes = made[i].data<std::int64_t>();
    formula->codes.assign(codes.begin(), codes.end());
    formulas.push_back(std::move(formula));
  }
  return formulas;
}

}  // namespace ember::auditing
