#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ember/tensor.hpp>

#include "graph/graph.hpp"

namespace ember::ops {

/// One node seen by its operator: attributes with their defaults, and errors that name the place.
class NodeContext {
 public:
  NodeContext(const graph::Graph& graph, graph::NodeId id)
      : graph_(&graph), node_(&graph.node(id)), id_(id), opset_(graph.opset(*node_)) {}

  [[nodiscard]] const graph::Graph& graph() const noexcept { return *graph_; }
  [[nodiscard]] const graph::Node& node() const noexcept { return *node_; }
  [[nodiscard]] graph::NodeId id() const noexcept { return id_; }
  [[nodiscard]] int opset() const noexcept { return opset_; }
  [[nodiscard]] std::string_view op() const noexcept { return node_->op; }

  [[nodiscard]] int input_count() const noexcept { return static_cast<int>(node_->inputs.size()); }
  [[nodiscard]] int output_count() const noexcept { return static_cast<int>(node_->outputs.size()); }
  [[nodiscard]] bool has_input(int i) const noexcept {
    return i < input_count() && node_->inputs[static_cast<std::size_t>(i)] != graph::kNoValue;
  }
  [[nodiscard]] bool has_output(int i) const noexcept {
    return i < output_count() && node_->outputs[static_cast<std::size_t>(i)] != graph::kNoValue;
  }

  // Attributes. A present attribute of another type is an Error (InvalidModel).
  [[nodiscard]] bool has(std::string_view name) const {
    return node_->attributes.find(name) != node_->attributes.end();
  }
  [[nodiscard]] std::int64_t integer(std::string_view name, std::int64_t otherwise) const;
  [[nodiscard]] float real(std::string_view name, float otherwise) const;
  [[nodiscard]] std::string text(std::string_view name, std::string_view otherwise) const;
  [[nodiscard]] std::vector<std::int64_t> integers(std::string_view name,
                                                   std::vector<std::int64_t> otherwise = {}) const;
  [[nodiscard]] std::vector<float> reals(std::string_view name, std::vector<float> otherwise = {}) const;
  [[nodiscard]] std::vector<std::string> texts(std::string_view name,
                                               std::vector<std::string> otherwise = {}) const;
  /// nullptr when absent.
  [[nodiscard]] const Tensor* tensor(std::string_view name) const;
  [[nodiscard]] const graph::Graph* subgraph(std::string_view name) const;

  /// Throws Error naming model, node, operator and opset.
  [[noreturn]] void fail(ErrorCode code, const std::string& reason, const std::string& cure = {}) const;
  /// InvalidModel unless `holds`.
  void require(bool holds, const std::string& reason) const {
    if (!holds) fail(ErrorCode::InvalidModel, reason);
  }

 private:
  const graph::Graph* graph_;
  const graph::Node* node_;
  graph::NodeId id_;
  int opset_;
};

/// An axis in [-rank, rank) as an index in [0, rank). Fails (InvalidModel) outside.
int normalize_axis(const NodeContext& node, std::int64_t axis, int rank);
/// NumPy broadcasting of two shapes. Fails (InvalidModel) when they do not fit.
Shape broadcast(const NodeContext& node, const Shape& a, const Shape& b);

/// Thrown (not an Error) by InferContext::required_value when the shape depends on data that only a
/// run can know. The planner then defers the node to run time.
struct DataDependent {};

/// Shape rule's view: what is known of the inputs, and where to put what follows for the outputs.
/// Shapes of all present inputs are known when a rule is called; values only of constants.
class InferContext : public NodeContext {
 public:
  struct Input {
    DataType type = DataType::Undefined;
    Shape shape;
    const Tensor* value = nullptr;  ///< set when the input's elements are known
  };
  struct Output {
    DataType type = DataType::Undefined;
    Shape shape;
  };

  InferContext(const graph::Graph& graph, graph::NodeId id, std::span<const Input> inputs,
               std::span<Output> outputs)
      : NodeContext(graph, id), inputs_(inputs), outputs_(outputs) {}

  [[nodiscard]] DataType type(int i) const { return input(i).type; }
  [[nodiscard]] const Shape& shape(int i) const { return input(i).shape; }
  /// The elements of input i, nullptr when they are not known (yet).
  [[nodiscard]] const Tensor* value(int i) const { return has_input(i) ? input(i).value : nullptr; }
  /// The elements of input i; throws DataDependent when they are not known.
  [[nodiscard]] const Tensor& required_value(int i) const;
  /// Input i (int32 or int64, any rank) as int64 numbers; throws DataDependent when not known.
  [[nodiscard]] std::vector<std::int64_t> required_integers(int i) const;

  /// Does nothing for an output that is left out.
  void set_output(int i, DataType type, const Shape& shape);

 private:
  [[nodiscard]] const Input& input(int i) const;
  std::span<const Input> inputs_;
  std::span<Output> outputs_;
};

/// Reference's view: all inputs, and outputs allocated with the shapes the shape rule gave.
/// Inputs and outputs never overlap.
class EvalContext : public NodeContext {
 public:
  EvalContext(const graph::Graph& graph, graph::NodeId id, std::span<const ConstTensorView> inputs,
              std::span<const TensorView> outputs)
      : NodeContext(graph, id), inputs_(inputs), outputs_(outputs) {}

  [[nodiscard]] const ConstTensorView& input(int i) const;  ///< fails when left out
  /// Fails when left out.
  [[nodiscard]] const TensorView& output(int i) const;
  /// Input i (int32 or int64) as int64 numbers.
  [[nodiscard]] std::vector<std::int64_t> integers_of(int i) const;
  using NodeContext::integers;

  [[nodiscard]] std::span<const ConstTensorView> inputs() const noexcept { return inputs_; }
  [[nodiscard]] std::span<const TensorView> outputs() const noexcept { return outputs_; }

 private:
  std::span<const ConstTensorView> inputs_;
  std::span<const TensorView> outputs_;
};

/// What a fused producer can take over from the nodes behind it; see ops/lowering.hpp.
struct FusionSupport {
  bool activation = false;
  bool residual = false;
  bool bias = false;  ///< an Add of one constant per element of the last axis
};

/// All ember knows of one operator. Plain functions: an operator has no state.
struct Operator {
  std::string_view name;
  std::string_view domain = "";
  /// Opset versions at which the definition changed, ascending; the first is the oldest accepted and
  /// the last the newest known. A model between two of them obeys the lower.
  std::vector<int> versions;
  /// First opset that no longer has the operator (Upsample: 10), 0 for none.
  int removed_in = 0;

  /// Load-time check of attributes, counts and types that needs no shapes: append one reason per
  /// thing ember cannot do. May be null.
  void (*check)(const NodeContext& node, std::vector<std::string>& reasons) = nullptr;
  /// Output types and shapes from inputs. Throws Error (InvalidModel, Unsupported) or DataDependent.
  void (*infer)(InferContext& context) = nullptr;
  /// The literal ONNX meaning, scalar, accumulating floats in double. The oracle of every test.
  /// Null for If alone: its branches read captured values, so interpreter and planner run it themselves.
  void (*reference)(EvalContext& context) = nullptr;
  /// Multiply-adds count two. Null: one per output element.
  double (*flops)(const NodeContext& node, std::span<const Shape> inputs,
                  std::span<const Shape> outputs) = nullptr;
  FusionSupport fuses;
  /// True when the result depends on more than the inputs, or the node must not be folded away.
  bool never_fold = false;
};

/// The operator of a node, or nullptr when ember has none for that domain, name and opset.
const Operator* find_operator(std::string_view domain, std::string_view name, int opset);
/// The operator of a node of a graph whose operators were checked at load. Throws Error (Unsupported).
const Operator& operator_of(const graph::Graph& graph, graph::NodeId id);
/// Every operator, sorted by domain and name.
std::span<const Operator> all_operators();

/// Names every node (subgraphs included) that ember cannot run, in one Error (Unsupported).
void check_supported(const graph::Graph& graph);
/// The same, as lines ("Conv_3: Conv (opset 11): reason") instead of an exception.
std::vector<std::string> unsupported(const graph::Graph& graph);

}  // namespace ember::ops
