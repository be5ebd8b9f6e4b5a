#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plan/specialize.hpp"

// Attention written out node by node: Softmax(Q·K / c + mask)·V, with the Transposes that lead to and from
// it.

namespace ember::plan {

using graph::kNoNode;
using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

namespace {

constexpr int kRank = 4;  ///< batch, heads, rows, columns

/// A matrix stack read through Transposes: axis i of it is axis `axes[i]` of `base`.
struct View {
  ValueId base = kNoValue;
  std::array<std::int64_t, kRank> axes = {0, 1, 2, 3};
};

class Matcher {
 public:
  Matcher(Specialized& specialized, const std::set<ValueId>& kept) : s_(specialized), kept_(kept) {}

  /// Replaces the attention around a Softmax; nullopt when it is none.
  std::optional<Labels::value_type> replace(NodeId softmax) {
    if (!match_scores(softmax) || !match_mixing(softmax)) return std::nullopt;
    const Shape& scores = *s_.fact(graph().node(scores_).outputs[0]).shape;
    graph::Node node;
    node.op = "FusedAttention";
    node.inputs = {query_.base, key_.base, value_.base};
    if (mask_ != kNoValue) node.inputs.push_back(mask_);
    node.outputs = {output_};
    const auto list = [](const View& view) {
      return std::vector<std::int64_t>(view.axes.begin(), view.axes.end());
    };
    node.attributes["query_axes"] = list(query_);
    node.attributes["key_axes"] = list(key_);
    node.attributes["value_axes"] = list(value_);
    node.attributes["output_axes"] = output_axes_;
    node.attributes["scale"] = static_cast<float>(scale_);

    std::vector<std::string> labels;
    for (const NodeId id : nodes_) labels.push_back(graph().label(id));
    const Shape& mixed = *s_.fact(graph().node(mixing_).outputs[0]).shape;
    node.attributes["flops"] = static_cast<float>(2.0 * static_cast<double>(scores.elements()) *
                                                  static_cast<double>(depth_ + mixed[kRank - 1] + 4));
    node.name = graph().label(scores_);
    const auto& order = graph().order();
    const auto next = std::ranges::find(order, nodes_.back()) + 1;
    const NodeId before = next == order.end() ? kNoNode : *next;
    for (const NodeId id : nodes_) graph().remove_node(id);
    const NodeId added = graph().add_node(std::move(node), before);
    for (const NodeId id : transposes_) {
      const ValueId made = graph().node(id).outputs[0];
      if (!graph().users(made).empty() || graph().is_output(made) || kept_.contains(made)) continue;
      labels.push_back(graph().label(id));
      graph().remove_node(id);
    }
    return Labels::value_type(added, std::move(labels));
  }

 private:
  [[nodiscard]] graph::Graph& graph() const { return s_.graph; }

  [[nodiscard]] bool is_stack(ValueId v) const {
    const Fact& fact = s_.fact(v);
    return fact.type == DataType::Float32 && fact.shape.has_value() && fact.shape->rank() == kRank &&
           fact.shape->elements() > 0 && graph().constant(v) == nullptr;
  }
  /// A stack that only one node reads, and nobody else sees.
  [[nodiscard]] bool vanishes(ValueId v) const {
    return is_stack(v) && !kept_.contains(v) && !graph().is_output(v) && graph().users(v).size() == 1;
  }
  [[nodiscard]] const graph::Node* producer(ValueId v, NodeId& id) const {
    id = graph().value(v).producer;
    if (id == kNoNode || !graph().node(id).domain.empty()) return nullptr;
    return &graph().node(id);
  }
  [[nodiscard]] std::optional<double> scalar(ValueId v) const {
    const Tensor* constant = graph().constant(v);
    if (constant == nullptr || constant->type() != DataType::Float32 || constant->elements() != 1)
      return std::nullopt;
    return double{constant->data<float>()[0]};
  }

  bool match_scores(NodeId softmax) {
    const graph::Node& node = graph().node(softmax);
    ValueId v = node.inputs[0];
    if (!vanishes(v)) return false;
    const auto axis = node.attributes.find("axis");
    const bool given = axis != node.attributes.end();
    const std::int64_t along = given                       ? std::get<std::int64_t>(axis->second)
                               : graph().opset(node) >= 13 ? -1
                                                           : 1;
    if (along != -1 && along != kRank - 1) return false;
    bool scaled = false;
    while (vanishes(v)) {
      NodeId id = kNoNode;
      const graph::Node* made = producer(v, id);
      if (made == nullptr || made->inputs.size() != 2) return false;
      if (made->op == "MatMul") return take_scores(id);
      nodes_.insert(nodes_.begin(), id);
      if (made->op == "Add") {
        if (scaled || mask_ != kNoValue) return false;
        const bool first = !is_product(made->inputs[0]);
        mask_ = made->inputs[first ? 0 : 1];
        v = made->inputs[first ? 1 : 0];
        if (!is_mask(mask_, *s_.fact(made->outputs[0]).shape)) return false;
        continue;
      }
      const auto right = scalar(made->inputs[1]);
      const auto left = scalar(made->inputs[0]);
      scaled = true;
      if (made->op == "Div" && right) scale_ /= *right;
      else if (made->op == "Mul" && right) scale_ *= *right;
      else if (made->op == "Mul" && left) scale_ *= *left;
      else return false;
      v = made->inputs[right ? 0 : 1];
    }
    return false;
  }

  /// Whether a value is scores on their way: a product, scaled or not.
  [[nodiscard]] bool is_product(ValueId v) const {
    for (int hops = 0; hops < 3 && vanishes(v); ++hops) {
      NodeId id = kNoNode;
      const graph::Node* made = producer(v, id);
      if (made == nullptr || made->inputs.size() != 2) return false;
      if (made->op == "MatMul") return true;
      if (made->op != "Div" && made->op != "Mul") return false;
      v = made->inputs[graph().constant(made->inputs[0]) != nullptr ? 1 : 0];
    }
    return false;
  }

  [[nodiscard]] bool is_mask(ValueId v, const Shape& scores) const {
    const Fact& fact = s_.fact(v);
    if (fact.type != DataType::Float32 || !fact.shape.has_value()) return false;
    const Shape& shape = *fact.shape;
    if (shape.rank() < 1 || shape.rank() > kRank) return false;
    for (int back = 1; back <= shape.rank(); ++back) {
      const std::int64_t extent = shape[shape.rank() - back];
      if (extent != scores[kRank - back] && (extent != 1 || back == 1)) return false;
    }
    return true;
  }

  bool take_scores(NodeId id) {
    const graph::Node& node = graph().node(id);
    if (!is_stack(node.inputs[0]) || !is_stack(node.inputs[1])) return false;
    const Shape& q = *s_.fact(node.inputs[0]).shape;
    const Shape& k = *s_.fact(node.inputs[1]).shape;
    if (q[0] != k[0] || q[1] != k[1]) return false;
    scores_ = id;
    depth_ = q[3];
    query_ = view(node.inputs[0], true);
    key_ = view(node.inputs[1], false);
    nodes_.insert(nodes_.begin(), id);
    return true;
  }

  bool match_mixing(NodeId softmax) {
    const ValueId weights = graph().node(softmax).outputs[0];
    if (!vanishes(weights)) return false;
    nodes_.push_back(softmax);
    mixing_ = graph().users(weights)[0];
    const graph::Node& product = graph().node(mixing_);
    if (product.op != "MatMul" || !product.domain.empty() || product.inputs[0] != weights) return false;
    if (product.inputs[1] == weights || !is_stack(product.inputs[1])) return false;
    const Shape& rows = *s_.fact(weights).shape;
    const Shape& v = *s_.fact(product.inputs[1]).shape;
    if (rows[0] != v[0] || rows[1] != v[1]) return false;
    value_ = view(product.inputs[1], false);
    nodes_.push_back(mixing_);
    output_ = product.outputs[0];
    if (!vanishes(output_)) return true;
    const NodeId next = graph().users(output_)[0];
    const graph::Node& transpose = graph().node(next);
    if (transpose.op != "Transpose" || !transpose.domain.empty()) return true;
    const auto perm = permutation(transpose);
    if (perm[kRank - 1] != kRank - 1) return true;
    // Axis i of the product lies at axis output_axes_[i] of what is written.
    for (std::size_t i = 0; i < kRank; ++i)
      output_axes_[static_cast<std::size_t>(perm[i])] = static_cast<std::int64_t>(i);
    nodes_.push_back(next);
    output_ = transpose.outputs[0];
    return true;
  }

  [[nodiscard]] static std::array<std::int64_t, kRank> permutation(const graph::Node& transpose) {
    const auto given = transpose.attributes.find("perm");
    if (given == transpose.attributes.end()) return {3, 2, 1, 0};
    const auto& list = std::get<std::vector<std::int64_t>>(given->second);
    return {list[0], list[1], list[2], list[3]};
  }

  /// The value, or what it is a transposition of; with `rows_stay`, rows must stay contiguous.
  View view(ValueId v, bool rows_stay) {
    View found{.base = v};
    View at = found;
    NodeId id = kNoNode;
    for (const graph::Node* made = producer(at.base, id); made != nullptr && made->op == "Transpose";
         made = producer(at.base, id)) {
      if (!is_stack(made->inputs[0])) break;
      const auto perm = permutation(*made);
      for (std::int64_t& axis : at.axes) axis = perm[static_cast<std::size_t>(axis)];
      at.base = made->inputs[0];
      if (std::ranges::find(transposes_, id) == transposes_.end()) transposes_.push_back(id);
      if (!rows_stay || at.axes[kRank - 1] == kRank - 1) found = at;
    }
    return found;
  }

  Specialized& s_;
  const std::set<ValueId>& kept_;
  std::vector<NodeId> nodes_;       ///< what the attention replaces, in order
  std::vector<NodeId> transposes_;  ///< what it reads past, from the last to the first
  NodeId scores_ = kNoNode, mixing_ = kNoNode;
  View query_, key_, value_;
  ValueId mask_ = kNoValue, output_ = kNoValue;
  std::vector<std::int64_t> output_axes_ = {0, 1, 2, 3};
  std::int64_t depth_ = 0;
  double scale_ = 1;
};

}  // namespace

Labels merge_attention(Specialized& specialized, const std::set<ValueId>& kept) {
  Labels merged;
  std::vector<NodeId> softmaxes;
  for (const NodeId id : specialized.graph.order()) {
    const graph::Node& node = specialized.graph.node(id);
    if (node.op == "Softmax" && node.domain.empty()) softmaxes.push_back(id);
  }
  for (const NodeId id : softmaxes) {
    if (auto replaced = Matcher(specialized, kept).replace(id)) merged.insert(std::move(*replaced));
  }
  return merged;
}

}  // namespace ember::plan
