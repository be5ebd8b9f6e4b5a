#include "ops/gated_expression.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "ops/constant_value.hpp"
#include "ops/op.hpp"
#include "ops/typed.hpp"

namespace ember::ops {

namespace {

using graph::Graph;
using graph::kNoNode;
using graph::NodeId;
using graph::ValueId;

/// Deeper arithmetic than any exporter writes for one activation; bounds the search.
constexpr int kMaxDepth = 8;

class Reader {
 public:
  explicit Reader(const Graph& graph) : graph_(graph) {}

  std::vector<GatedExpression> read(NodeId last) {
    const std::optional<Product> product = product_of(last);
    if (!product || product->factors.size() != 2) return {};
    std::vector<GatedExpression> found;
    for (std::size_t i = 0; i < 2; ++i) {
      result_ = {.input = product->factors[i], .nodes = product->nodes};
      result_.tolerance = product->tolerance;
      result_.constant_rank = product->constant_rank;
      if (read_gate(product->factors[1 - i], product->coefficient)) found.push_back(result_);
    }
    return found;
  }

 private:
  struct Product {
    double coefficient = 1.0;
    std::vector<ValueId> factors;
    std::vector<NodeId> nodes;
    double tolerance = 0.0;
    int constant_rank = 0;
  };

  [[nodiscard]] const graph::Node* producer(ValueId value) const {
    const NodeId id = value == graph::kNoValue ? kNoNode : graph_.value(value).producer;
    return id == kNoNode || !graph_.node(id).domain.empty() ? nullptr : &graph_.node(id);
  }
  [[nodiscard]] NodeId producer_id(ValueId value) const { return graph_.value(value).producer; }

  /// A constant of one element; remembers its rank and precision.
  std::optional<double> scalar(ValueId value) {
    const Tensor* tensor = constant_of(graph_, value);
    if (tensor == nullptr || tensor->elements() != 1) return std::nullopt;
    std::optional<double> number;
    switch (tensor->type()) {
      case DataType::Float32: number = static_cast<double>(tensor->data<float>()[0]); break;
      case DataType::Float16: number = widen(tensor->data<Half>()[0]); break;
      case DataType::BFloat16: number = widen(tensor->data<BFloat>()[0]); break;
      // Exponents of Pow.
      case DataType::Int32: number = tensor->data<std::int32_t>()[0]; break;
      case DataType::Int64: number = static_cast<double>(tensor->data<std::int64_t>()[0]); break;
      default: return std::nullopt;
    }
    if (!std::isfinite(*number)) return std::nullopt;
    if (tensor->type() == DataType::Float16) result_.tolerance = std::max(result_.tolerance, 1e-3);
    if (tensor->type() == DataType::BFloat16) result_.tolerance = std::max(result_.tolerance, 8e-3);
    result_.constant_rank = std::max(result_.constant_rank, tensor->shape().rank());
    return number;
  }

  /// The same for a divisor: 0 does not count.
  std::optional<double> divisor(ValueId value) {
    const std::optional<double> number = scalar(value);
    return number && *number != 0.0 ? number : std::nullopt;
  }

  /// The factors that node `last` multiplies, through products that nothing else reads.
  std::optional<Product> product_of(NodeId last) {
    result_ = {};
    Product product;
    if (!multiply(last, product, 0)) return std::nullopt;
    product.tolerance = result_.tolerance;
    product.constant_rank = result_.constant_rank;
    return product;
  }

  bool multiply(NodeId id, Product& product, int depth) {
    const graph::Node& node = graph_.node(id);
    const bool times = node.op == "Mul";
    if ((!times && node.op != "Div") || !node.domain.empty() || node.inputs.size() != 2) return false;
    product.nodes.push_back(id);
    if (!times) {
      const std::optional<double> by = divisor(node.inputs[1]);
      if (!by) return false;
      product.coefficient /= *by;
      return add_factor(node.inputs[0], product, depth);
    }
    return add_factor(node.inputs[0], product, depth) && add_factor(node.inputs[1], product, depth);
  }

  bool add_factor(ValueId value, Product& product, int depth) {
    if (const std::optional<double> number = scalar(value)) {
      product.coefficient *= *number;
      return true;
    }
    const graph::Node* node = producer(value);
    const bool inner = node != nullptr && graph_.users(value).size() == 1 && !graph_.is_output(value);
    if (inner && depth < kMaxDepth && (node->op == "Mul" || node->op == "Div")) {
      Product trial = product;
      if (multiply(producer_id(value), trial, depth + 1)) {
        product = std::move(trial);
        return true;
      }
    }
    product.factors.push_back(value);
    return product.factors.size() <= 2;
  }

  /// `coefficient` · value as offset + scale · f(argument).
  bool read_gate(ValueId value, double coefficient) {
    double offset = 0.0;
    double scale = coefficient;
    for (int depth = 0; depth < kMaxDepth; ++depth) {
      const graph::Node* node = producer(value);
      if (node == nullptr || node->inputs.empty()) return false;
      result_.nodes.push_back(producer_id(value));
      if (!step_inside(*node, value, offset, scale)) {
        result_.offset = offset;
        result_.scale = scale;
        result_.function = producer_id(value);
        result_.argument = polynomial(node->inputs[0], 0);
        return true;
      }
    }
    return false;
  }

  /// Goes through one affine node towards the function; false when the node is none.
  bool step_inside(const graph::Node& node, ValueId& value, double& offset, double& scale) {
    if (node.op == "Neg") {
      scale = -scale;
      value = node.inputs[0];
      return true;
    }
    if (node.inputs.size() != 2) return false;
    const ValueId left = node.inputs[0];
    const ValueId right = node.inputs[1];
    if (node.op == "Add" || node.op == "Mul") {
      const bool left_is_number = scalar(left).has_value();
      const std::optional<double> number = scalar(left_is_number ? left : right);
      if (!number) return false;
      if (node.op == "Add") offset += scale * *number;
      else scale *= *number;
      value = left_is_number ? right : left;
      return true;
    }
    if (node.op == "Sub") {
      if (const std::optional<double> number = scalar(right)) {
        offset -= scale * *number;
        value = left;
        return true;
      }
      const std::optional<double> number = scalar(left);
      if (!number) return false;
      offset += scale * *number;
      scale = -scale;
      value = right;
      return true;
    }
    const std::optional<double> number = node.op == "Div" ? divisor(right) : std::nullopt;
    if (!number) return false;
    scale /= *number;
    value = left;
    return true;
  }

  /// `value` as a polynomial of the input, of degree 3 at most.
  std::optional<Cubic> polynomial(ValueId value, int depth) {
    if (value == result_.input) return Cubic{0.0, 1.0, 0.0, 0.0};
    if (const std::optional<double> number = scalar(value)) return Cubic{*number, 0.0, 0.0, 0.0};
    const graph::Node* node = producer(value);
    if (node == nullptr || depth == kMaxDepth || node->inputs.empty()) return std::nullopt;
    const bool unary = node->op == "Neg";
    const bool binary =
        node->op == "Add" || node->op == "Sub" || node->op == "Mul" || node->op == "Div" || node->op == "Pow";
    if (!unary && (!binary || node->inputs.size() != 2)) return std::nullopt;
    result_.nodes.push_back(producer_id(value));
    std::optional<Cubic> a = polynomial(node->inputs[0], depth + 1);
    if (!a) return std::nullopt;
    if (unary) return scaled(*a, -1.0);
    if (node->op == "Div") {
      const std::optional<double> by = divisor(node->inputs[1]);
      return by ? std::optional(scaled(*a, 1.0 / *by)) : std::nullopt;
    }
    if (node->op == "Pow") return power(*a, scalar(node->inputs[1]));
    const std::optional<Cubic> b = polynomial(node->inputs[1], depth + 1);
    if (!b) return std::nullopt;
    if (node->op == "Mul") return times(*a, *b);
    for (std::size_t i = 0; i < a->size(); ++i) (*a)[i] += node->op == "Add" ? (*b)[i] : -(*b)[i];
    return a;
  }

  static Cubic scaled(Cubic a, double by) {
    for (double& coefficient : a) coefficient *= by;
    return a;
  }
  static std::optional<Cubic> times(const Cubic& a, const Cubic& b) {
    Cubic product{};
    for (std::size_t i = 0; i < a.size(); ++i) {
      for (std::size_t j = 0; j < b.size(); ++j) {
        if (a[i] == 0.0 || b[j] == 0.0) continue;
        if (i + j >= product.size()) return std::nullopt;
        product[i + j] += a[i] * b[j];
      }
    }
    return product;
  }
  static std::optional<Cubic> power(const Cubic& a, std::optional<double> exponent) {
    if (!exponent || (*exponent != 2.0 && *exponent != 3.0)) return std::nullopt;
    const std::optional<Cubic> square = times(a, a);
    return square && *exponent == 3.0 ? times(*square, a) : square;
  }

  const Graph& graph_;
  GatedExpression result_;
};

}  // namespace

std::vector<GatedExpression> gated_expressions(const Graph& graph, NodeId last) {
  return Reader(graph).read(last);
}

}  // namespace ember::ops
