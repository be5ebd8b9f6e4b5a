#include "plan/batch_rules.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "ops/op.hpp"

namespace ember::plan {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

namespace {

/// How a value depends on the batch.
enum class Kind : std::uint8_t {
  Absent,  ///< left out
  Same,    ///< one content for every sample
  Rows,    ///< axis 0 consists of equal parts, each of which belongs to the part of the batch at its place
  Other,   ///< anything else: a number computed from the size of the batch, say
};

/// Whether axis 0 of `whole` is `parts` times that of `part` and all else is equal.
bool scales(const Shape& whole, const Shape& part, std::int64_t parts) {
  return whole.rank() == part.rank() && whole.rank() > 0 && whole[0] == parts * part[0] &&
         std::equal(whole.begin() + 1, whole.end(), part.begin() + 1);
}

/// A node in both networks, and what is known of its operands.
struct NodePair {
  ops::NodeContext node;  ///< of the whole batch
  std::vector<Kind> kinds;
  std::vector<Shape> inputs;   ///< of the whole batch
  std::vector<Shape> outputs;  ///< of the whole batch
  std::vector<const Tensor*> constants;

  [[nodiscard]] Kind kind(std::size_t i) const { return i < kinds.size() ? kinds[i] : Kind::Absent; }
  [[nodiscard]] bool same_or_absent(std::size_t i) const {
    return kind(i) == Kind::Same || kind(i) == Kind::Absent;
  }
  /// All inputs from number `first` on hold one content for all samples.
  [[nodiscard]] bool same_from(std::size_t first) const {
    for (std::size_t i = first; i < kinds.size(); ++i) {
      if (!same_or_absent(i)) return false;
    }
    return true;
  }
  /// Input i follows axis 0 of the result, or does not reach it, when broadcast to it from the right.
  [[nodiscard]] bool broadcasts(std::size_t i) const {
    const Shape& result = outputs[0];
    switch (kind(i)) {
      case Kind::Absent: return true;
      case Kind::Same: return inputs[i].rank() < result.rank() || inputs[i][0] == 1;
      case Kind::Rows: return inputs[i].rank() == result.rank() && inputs[i][0] == result[0];
      case Kind::Other: return false;
    }
    return false;
  }
  [[nodiscard]] bool keeps_axis_0() const { return inputs[0][0] == outputs[0][0]; }
  /// An axis attribute, counted from the front.
  [[nodiscard]] std::int64_t axis(std::int64_t otherwise) const {
    const std::int64_t axis = node.integer("axis", otherwise);
    return axis < 0 ? axis + inputs[0].rank() : axis;
  }
  /// The integers of constant input i; empty when it is left out.
  [[nodiscard]] std::vector<std::int64_t> integers(std::size_t i) const {
    if (i >= constants.size() || constants[i] == nullptr) return {};
    const Tensor& tensor = *constants[i];
    std::vector<std::int64_t> values;
    if (tensor.type() == DataType::Int64)
      values.assign(tensor.data<std::int64_t>().begin(), tensor.data<std::int64_t>().end());
    else if (tensor.type() == DataType::Int32)
      values.assign(tensor.data<std::int32_t>().begin(), tensor.data<std::int32_t>().end());
    return values;
  }
};

// ---- rules: whether each part of axis 0 of the outputs follows from that part of the operands

bool pointwise(const NodePair& n) {
  for (std::size_t i = 0; i < n.kinds.size(); ++i) {
    if (!n.broadcasts(i)) return false;
  }
  return true;
}

/// The first input sample by sample; the others are weights.
bool per_sample(const NodePair& n) { return n.kind(0) == Kind::Rows && n.same_from(1); }

/// Indices of maxima count through the whole batch.
bool max_pool(const NodePair& n) { return per_sample(n) && !n.node.has_output(1); }

bool batch_normalization(const NodePair& n) {
  return per_sample(n) && n.node.integer("training_mode", 0) == 0;
}

/// Row-major order stays, so parts that are blocks of the memory before are blocks of it after.
bool same_order(const NodePair& n) { return n.kind(0) == Kind::Rows; }

bool quantization(const NodePair& n) {
  if (!per_sample(n)) return false;
  return n.inputs[1].elements() == 1 || (n.inputs[1].rank() == 1 && n.axis(1) != 0);
}

bool gemm(const NodePair& n) {
  return n.kind(0) == Kind::Rows && n.same_or_absent(1) && n.node.integer("transA", 0) == 0 &&
         n.broadcasts(2);
}

bool matmul(const NodePair& n) {
  const Shape& result = n.outputs[0];
  const auto follows = [&](std::size_t i) {
    return n.kind(i) == Kind::Rows && n.inputs[i].rank() == result.rank() && n.inputs[i][0] == result[0];
  };
  const auto stays = [&](std::size_t i) {
    return n.kind(i) == Kind::Same &&
           (n.inputs[i].rank() < result.rank() || result.rank() == 2 || n.inputs[i][0] == 1);
  };
  // The rows of a plain product follow the left operand; a stack of products follows both.
  if (result.rank() == 2) return follows(0) && stays(1);
  return result.rank() > 2 && ((follows(0) && (follows(1) || stays(1))) || (stays(0) && follows(1)));
}

bool softmax(const NodePair& n) {
  return n.kind(0) == Kind::Rows && n.axis(n.node.opset() < 13 ? 1 : -1) != 0;
}

bool last_axes(const NodePair& n) { return per_sample(n) && n.axis(-1) != 0; }

bool along_axis(const NodePair& n) { return per_sample(n) && n.axis(0) != 0; }

bool top_k(const NodePair& n) { return per_sample(n) && n.axis(-1) != 0; }

bool reduction(const NodePair& n) {
  if (n.kind(0) != Kind::Rows || !n.same_from(1)) return false;
  std::vector<std::int64_t> axes = n.node.integers("axes");
  if (axes.empty()) axes = n.integers(1);
  if (axes.empty()) return n.node.integer("noop_with_empty_axes", 0) != 0;
  return std::ranges::none_of(axes,
                              [&](std::int64_t axis) { return axis == 0 || axis == -n.inputs[0].rank(); });
}

bool transpose(const NodePair& n) {
  const std::vector<std::int64_t> order = n.node.integers("perm");
  return n.kind(0) == Kind::Rows && !order.empty() && order[0] == 0;
}

bool concat(const NodePair& n) {
  return n.axis(0) != 0 && std::ranges::all_of(n.kinds, [](Kind kind) { return kind == Kind::Rows; });
}

/// Lengths along another axis; what they come to is seen in the results' shapes.
bool split(const NodePair& n) { return n.kind(0) == Kind::Rows && n.axis(0) != 0; }

bool slice(const NodePair& n) {
  if (!per_sample(n)) return false;
  std::vector<std::int64_t> axes = n.node.integers("axes");
  if (axes.empty()) axes = n.integers(3);
  const bool listed = !axes.empty();
  const bool first = !listed || std::ranges::any_of(axes, [&](std::int64_t axis) {
    return axis == 0 || axis == -n.inputs[0].rank();
  });
  if (!first) return true;
  // All of axis 0, in order.
  const std::vector<std::int64_t> steps = n.integers(4);
  return n.keeps_axis_0() && std::ranges::all_of(steps, [](std::int64_t step) { return step > 0; });
}

bool gather(const NodePair& n) {
  if (n.axis(0) != 0) return n.kind(0) == Kind::Rows && n.kind(1) == Kind::Same;
  return n.kind(0) == Kind::Same && n.kind(1) == Kind::Rows;
}

bool pad(const NodePair& n) {
  if (!per_sample(n) || n.kind(3) != Kind::Absent) return false;
  std::vector<std::int64_t> pads = n.node.integers("pads");
  if (pads.empty()) pads = n.integers(1);
  const auto rank = static_cast<std::size_t>(n.inputs[0].rank());
  return pads.size() == 2 * rank && pads[0] == 0 && pads[rank] == 0;
}

/// The size of the result (input 3) may name the batch; scales and region must not.
bool resize(const NodePair& n) {
  return n.kind(0) == Kind::Rows && n.same_or_absent(1) && n.same_or_absent(2) && n.keeps_axis_0();
}

bool expand(const NodePair& n) { return n.kind(0) == Kind::Rows && n.broadcasts(0); }

bool tile(const NodePair& n) { return per_sample(n) && n.keeps_axis_0(); }

bool cumulative_sum(const NodePair& n) {
  const std::vector<std::int64_t> axis = n.integers(1);
  return per_sample(n) && axis.size() == 1 && axis[0] != 0 && axis[0] != -n.inputs[0].rank();
}

using Rule = bool (*)(const NodePair&);

const std::map<std::string_view, Rule>& rules() {
  static const std::map<std::string_view, Rule> all = [] {
    std::map<std::string_view, Rule> map;
    const auto add = [&map](Rule rule, std::initializer_list<std::string_view> ops) {
      for (const std::string_view op : ops) map.emplace(op, rule);
    };
    add(pointwise, {"Abs",         "Acos",
                    "Acosh",       "Add",
                    "And",         "Asin",
                    "Asinh",       "Atan",
                    "Atanh",       "BitShift",
                    "BitwiseAnd",  "BitwiseNot",
                    "BitwiseOr",   "BitwiseXor",
                    "Cast",        "Ceil",
                    "Celu",        "Clip",
                    "Cos",         "Cosh",
                    "Div",         "Dropout",
                    "Elu",         "Equal",
                    "Erf",         "Exp",
                    "Floor",       "Gelu",
                    "Greater",     "GreaterOrEqual",
                    "HardSigmoid", "HardSwish",
                    "Identity",    "IsInf",
                    "IsNaN",       "LeakyRelu",
                    "Less",        "LessOrEqual",
                    "Log",         "Max",
                    "Mean",        "Min",
                    "Mish",        "Mod",
                    "Mul",         "Neg",
                    "Not",         "Or",
                    "PRelu",       "Pow",
                    "Reciprocal",  "Relu",
                    "Round",       "Selu",
                    "Shrink",      "Sigmoid",
                    "Sign",        "Sin",
                    "Sinh",        "Softplus",
                    "Softsign",    "Sqrt",
                    "Sub",         "Sum",
                    "Swish",       "Tan",
                    "Tanh",        "ThresholdedRelu",
                    "Where",       "Xor"});
    add(per_sample, {"AveragePool", "Conv", "ConvInteger", "ConvTranspose", "DepthToSpace",
                     "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GroupNormalization",
                     "InstanceNormalization", "LRN", "LpPool", "QLinearConv", "SpaceToDepth"});
    add(max_pool, {"MaxPool"});
    add(batch_normalization, {"BatchNormalization"});
    add(same_order, {"Flatten", "Reshape", "Squeeze", "Unsqueeze"});
    add(quantization, {"DequantizeLinear", "QuantizeLinear"});
    add(gemm, {"Gemm"});
    add(matmul, {"MatMul"});
    add(softmax, {"Hardmax", "LogSoftmax", "Softmax"});
    add(last_axes, {"LayerNormalization", "LpNormalization", "RMSNormalization"});
    add(along_axis, {"ArgMax", "ArgMin"});
    add(top_k, {"TopK"});
    add(reduction, {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
                    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"});
    add(transpose, {"Transpose"});
    add(concat, {"Concat"});
    add(split, {"Split"});
    add(slice, {"Slice"});
    add(gather, {"Gather"});
    add(pad, {"Pad"});
    add(resize, {"Resize", "Upsample"});
    add(expand, {"Expand"});
    add(tile, {"Tile"});
    add(cumulative_sum, {"CumSum"});
    return map;
  }();
  return all;
}

class Analysis {
 public:
  Analysis(const Specialized& whole, const Specialized& part, std::int64_t parts)
      : whole_(whole), part_(part), parts_(parts), kinds_(whole.graph.value_count(), Kind::Other) {}

  std::string run() {
    const graph::Graph& graph = whole_.graph;
    for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
      const ValueId v = graph.inputs[i];
      if (!scales(*whole_.fact(v).shape, *part_.fact(part_.graph.inputs[i]).shape, parts_))
        return fmt::format("axis 0 of input {} is not the batch", graph.value(v).name);
      kinds_[index(v)] = Kind::Rows;
    }
    if (graph.order().size() != part_.graph.order().size()) return "it has other nodes for another batch";
    for (std::size_t at = 0; at < graph.order().size(); ++at) {
      const NodeId id = graph.order()[at];
      const std::string reason = visit(id, part_.graph.order()[at]);
      if (!reason.empty()) return fmt::format("{} ({}): {}", graph.label(id), graph.node(id).op, reason);
    }
    for (const ValueId v : graph.outputs) {
      if (kinds_[index(v)] != Kind::Rows)
        return fmt::format("output {} is the same for every sample", graph.value(v).name);
    }
    return {};
  }

 private:
  static std::size_t index(ValueId v) { return static_cast<std::size_t>(v); }

  std::string visit(NodeId id, NodeId id_in_part) {
    const graph::Node& node = whole_.graph.node(id);
    const graph::Node& twin = part_.graph.node(id_in_part);
    const bool alike = node.op == twin.op && node.domain == twin.domain && node.name == twin.name &&
                       node.inputs.size() == twin.inputs.size() && node.outputs.size() == twin.outputs.size();
    if (!alike) return "another node stands here for another batch";
    const auto rule = rules().find(node.op);
    if (!node.domain.empty() || rule == rules().end()) return "no rule says that its samples are independent";
    NodePair pair{.node = ops::NodeContext(whole_.graph, id),
                  .kinds = {},
                  .inputs = {},
                  .outputs = {},
                  .constants = {}};
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      if (v != kNoValue && !whole_.fact(v).shape.has_value()) return "a shape depends on data";
      pair.kinds.push_back(kind_of(v, twin.inputs[i]));
      pair.inputs.push_back(v == kNoValue ? Shape() : *whole_.fact(v).shape);
      pair.constants.push_back(whole_.graph.constant(v));
    }
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId v = node.outputs[i];
      if (v == kNoValue) {
        pair.outputs.emplace_back();
        continue;
      }
      const auto& shape = whole_.fact(v).shape;
      const auto& shape_in_part = part_.fact(twin.outputs[i]).shape;
      if (!shape.has_value() || !shape_in_part.has_value()) return "a shape depends on data";
      if (!scales(*shape, *shape_in_part, parts_)) return "axis 0 of its result is not the batch";
      pair.outputs.push_back(*shape);
      kinds_[index(v)] = Kind::Rows;
    }
    const bool some = std::ranges::find(pair.kinds, Kind::Rows) != pair.kinds.end();
    if (!some || !rule->second(pair)) return "its samples are not independent along axis 0";
    return {};
  }

  [[nodiscard]] Kind kind_of(ValueId v, ValueId v_in_part) const {
    if (v == kNoValue) return v_in_part == kNoValue ? Kind::Absent : Kind::Other;
    const Tensor* a = whole_.graph.constant(v);
    if (a == nullptr) return kinds_[index(v)];
    const Tensor* b = part_.graph.constant(v_in_part);
    if (b == nullptr || a->type() != b->type()) return Kind::Other;
    if (a == b) return Kind::Same;
    const auto equal = [](const void* x, const void* y, std::size_t bytes) {
      return bytes == 0 || std::memcmp(x, y, bytes) == 0;
    };
    if (a->shape() == b->shape()) return equal(a->raw(), b->raw(), a->bytes()) ? Kind::Same : Kind::Other;
    if (!scales(a->shape(), b->shape(), parts_)) return Kind::Other;
    // Something repeated for every sample, like a class token.
    for (std::int64_t part = 0; part < parts_; ++part) {
      const auto offset = static_cast<std::size_t>(part) * b->bytes();
      if (!equal(static_cast<const std::byte*>(a->raw()) + offset, b->raw(), b->bytes())) return Kind::Other;
    }
    return Kind::Rows;
  }

  const Specialized& whole_;
  const Specialized& part_;
  std::int64_t parts_;
  std::vector<Kind> kinds_;  ///< by ValueId of the whole; constants are looked at where they are read
};

}  // namespace

std::string what_couples_samples(const Specialized& whole, const Specialized& part, std::int64_t parts) {
  return Analysis(whole, part, parts).run();
}

}  // namespace ember::plan
