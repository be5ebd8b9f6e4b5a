#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <ember/tensor.hpp>

namespace ember::graph {

class Graph;

/// Index of a value or node in its graph. Ids stay valid through edits and copies of the graph.
using ValueId = std::int32_t;
using NodeId = std::int32_t;
inline constexpr ValueId kNoValue = -1;  ///< an optional input or output that is left out
inline constexpr NodeId kNoNode = -1;

/// One extent as the model states it: a size, or a symbol ("N"), or neither (unknown).
struct Dim {
  std::int64_t size = -1;  ///< -1 when the model leaves it open
  std::string symbol;
};

/// A tensor-valued edge. Its name is the ONNX name and unique in its graph.
struct Value {
  std::string name;
  DataType type = DataType::Undefined;     ///< Undefined: the model does not say
  std::optional<std::vector<Dim>> dims;    ///< nullopt: the model does not say, not even the rank
  NodeId producer = kNoNode;               ///< kNoNode for inputs, initialisers and captured values
  std::shared_ptr<const Tensor> constant;  ///< set for initialisers (and for values folded to one)
};

using Attribute =
    std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>, std::vector<float>,
                 std::vector<std::string>, std::shared_ptr<const Tensor>, std::shared_ptr<const Graph>>;

struct Node {
  std::string name;    ///< may be empty in the model; see Graph::label()
  std::string op;      ///< ONNX operator type
  std::string domain;  ///< "" is ai.onnx
  std::map<std::string, Attribute, std::less<>> attributes;
  std::vector<ValueId> inputs;   ///< kNoValue for an optional input left out
  std::vector<ValueId> outputs;  ///< kNoValue for an optional output left out
  /// Values of this graph that the node's subgraphs read by name: for each subgraph attribute in
  /// attribute-name order, one entry per element of its Graph::captured, in that order.
  std::vector<ValueId> captures;
  std::string doc;
};

/// What identifies a model beyond its graph; kept through read, edit and write.
struct Metadata {
  std::string model_name;  ///< file name, for messages; not written
  std::int64_t ir_version = 8;
  std::string producer_name;
  std::string producer_version;
  std::string domain;
  std::int64_t model_version = 0;
  std::string doc;
  std::map<std::string, int, std::less<>> opsets;              ///< domain ("" is ai.onnx) → version
  std::map<std::string, std::string, std::less<>> properties;  ///< ONNX metadata_props
};

/// A network with ONNX meaning and ONNX names, which can always be written back as ONNX. Plain data
/// with edit operations that keep producers, users and order consistent. Copying is cheap: constants
/// and subgraphs are shared. Reading a const Graph from several threads is safe.
class Graph {
 public:
  std::string name;
  std::string doc;
  Metadata metadata;            ///< opsets is also what a subgraph's nodes obey
  std::vector<ValueId> inputs;  ///< without initialisers
  std::vector<ValueId> outputs;
  std::vector<ValueId> captured;  ///< subgraphs only: values that come from an outer graph

  // ---- values
  /// Adds a value. An empty name, or one already taken, gets a fresh name made from it.
  ValueId add_value(std::string_view name, DataType type = DataType::Undefined,
                    std::optional<std::vector<Dim>> dims = std::nullopt);
  ValueId add_constant(std::string_view name, std::shared_ptr<const Tensor> tensor);
  ValueId add_constant(std::string_view name, Tensor tensor);
  [[nodiscard]] const Value& value(ValueId id) const { return values_[static_cast<std::size_t>(id)]; }
  [[nodiscard]] Value& value(ValueId id) { return values_[static_cast<std::size_t>(id)]; }
  [[nodiscard]] std::size_t value_count() const noexcept { return values_.size(); }
  /// kNoValue when there is none of that name.
  [[nodiscard]] ValueId find_value(std::string_view name) const;
  void rename_value(ValueId id, std::string_view name);
  /// The tensor of a constant value, or nullptr (also for kNoValue).
  [[nodiscard]] const Tensor* constant(ValueId id) const {
    return id == kNoValue ? nullptr : value(id).constant.get();
  }
  /// Nodes that read the value (once per node, captures included), in order of insertion.
  [[nodiscard]] const std::vector<NodeId>& users(ValueId id) const {
    return users_[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] bool is_output(ValueId id) const;
  [[nodiscard]] bool is_input(ValueId id) const;
  /// Something gives the value its content. False for what an edit left behind, and for kNoValue.
  [[nodiscard]] bool is_available(ValueId id) const;

  // ---- nodes
  /// Appends a node (or inserts it before `before` in the order). Its inputs, outputs and captures
  /// must be values of this graph; an output must not have a producer yet.
  NodeId add_node(Node node, NodeId before = kNoNode);
  /// Live nodes in execution order. Invalidated by add_node, remove_node and sort.
  [[nodiscard]] const std::vector<NodeId>& order() const noexcept { return order_; }
  [[nodiscard]] const Node& node(NodeId id) const { return nodes_[static_cast<std::size_t>(id)]; }
  /// For attributes and names only; use the edits below to rewire.
  [[nodiscard]] Node& node(NodeId id) { return nodes_[static_cast<std::size_t>(id)]; }
  /// The node's name, or "#<id>" when the model gives none.
  [[nodiscard]] std::string label(NodeId id) const;
  /// The opset version that the node's domain is imported at (0 when it is not imported).
  [[nodiscard]] int opset(const Node& node) const;

  // ---- edits
  void set_input(NodeId node, int index, ValueId value);   ///< extends the list with kNoValue if need be
  void set_output(NodeId node, int index, ValueId value);  ///< the old output value loses its producer
  void set_capture(NodeId node, int index, ValueId value);
  /// Makes every reader of `from` read `to`; a graph output becomes `to` under `from`'s name.
  void replace_uses(ValueId from, ValueId to);
  /// Takes a node out; its outputs lose their producer.
  void remove_node(NodeId id);
  /// Turns a value into a constant; its producer no longer produces it.
  void make_constant(ValueId id, std::shared_ptr<const Tensor> tensor);
  /// Restores execution order from data flow (stable). Throws Error (InvalidModel) naming a cycle.
  void sort();
  /// Drops nodes whose outputs nobody reads, and constants without users. Returns how many nodes.
  int remove_dead();

 private:
  void add_user(ValueId value, NodeId node);
  void drop_user(ValueId value, NodeId node);
  [[nodiscard]] std::string fresh_name(std::string_view base) const;

  std::vector<Value> values_;
  std::vector<std::vector<NodeId>> users_;
  std::vector<Node> nodes_;
  std::vector<NodeId> order_;
  std::map<std::string, ValueId, std::less<>> by_name_;
};

/// Checks every invariant of the class: names unique, producers and users consistent, order
/// topological, captures matching. Throws Error (Internal or InvalidModel) naming the first violation.
void verify(const Graph& graph);

/// A readable listing of values and nodes, for debugging.
std::string dump(const Graph& graph);

}  // namespace ember::graph
