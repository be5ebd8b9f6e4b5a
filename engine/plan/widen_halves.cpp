#include "plan/widen_halves.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "ops/lowering.hpp"
#include "plan/specialize.hpp"

namespace ember::plan {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

namespace {

bool is_half(DataType type) { return type == DataType::Float16 || type == DataType::BFloat16; }

/// ONNX numbers of the element types that casts here need (TensorProto.DataType).
std::int64_t onnx_type(DataType type) {
  switch (type) {
    case DataType::Float16: return 10;
    case DataType::BFloat16: return 16;
    default: return 1;
  }
}

std::shared_ptr<const Tensor> widened(const Tensor& halves) {
  auto floats = std::make_shared<Tensor>(DataType::Float32, halves.shape());
  const auto to = floats->data<float>();
  if (halves.type() == DataType::Float16) {
    std::ranges::transform(halves.data<Half>(), to.begin(), [](Half h) { return static_cast<float>(h); });
  } else {
    std::ranges::transform(halves.data<BFloat>(), to.begin(), [](BFloat b) { return static_cast<float>(b); });
  }
  return floats;
}

class Widener {
 public:
  explicit Widener(Specialized& specialized) : s_(specialized) {}

  void run() {
    const std::vector<NodeId> order = s_.graph.order();
    for (const NodeId id : order) {
      if (wants_widening(id)) widen(id, order);
    }
    s_.graph.remove_dead();
  }

 private:
  /// Nodes that have a fast float32 implementation; others keep halves and run by their reference.
  [[nodiscard]] bool wants_widening(NodeId id) const {
    const graph::Node& node = s_.graph.node(id);
    if (!node.domain.empty() || node.op == "Cast" || node.op == "CastLike" ||
        ops::candidates(node.op).empty())
      return false;
    const auto half_and_static = [&](ValueId v) { return v == kNoValue || s_.is_static(v); };
    const auto half = [&](ValueId v) { return v != kNoValue && is_half(s_.fact(v).type); };
    return std::ranges::all_of(node.inputs, half_and_static) &&
           std::ranges::all_of(node.outputs, half_and_static) &&
           (std::ranges::any_of(node.inputs, half) || std::ranges::any_of(node.outputs, half));
  }

  void widen(NodeId id, const std::vector<NodeId>& order) {
    const std::vector<ValueId> inputs = s_.graph.node(id).inputs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i] == kNoValue || !is_half(s_.fact(inputs[i]).type)) continue;
      s_.graph.set_input(id, static_cast<int>(i), wide(inputs[i], id));
    }
    const std::vector<ValueId> outputs = s_.graph.node(id).outputs;
    const auto next = std::ranges::find(order, id) + 1;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const ValueId half = outputs[i];
      if (half == kNoValue || !is_half(s_.fact(half).type)) continue;
      const Fact fact{DataType::Float32, s_.fact(half).shape};
      const ValueId full = s_.add_value(widened_name(s_.graph.value(half).name), fact);
      s_.graph.set_output(id, static_cast<int>(i), full);
      add_cast(full, half, next == order.end() ? graph::kNoNode : *next);
      wide_[half] = full;
    }
  }

  ValueId wide(ValueId half, NodeId before) {
    const auto found = wide_.find(half);
    if (found != wide_.end()) return found->second;
    const std::string name = widened_name(s_.graph.value(half).name);
    ValueId full = kNoValue;
    if (const Tensor* constant = s_.graph.constant(half)) {
      full = s_.add_constant(name, widened(*constant));
    } else {
      full = s_.add_value(name, {DataType::Float32, s_.fact(half).shape});
      add_cast(half, full, before);
    }
    wide_.emplace(half, full);
    return full;
  }

  void add_cast(ValueId from, ValueId to, NodeId before) {
    graph::Node cast;
    cast.op = "Cast";
    cast.name = "cast_" + s_.graph.value(to).name;
    cast.attributes["to"] = onnx_type(s_.fact(to).type);
    cast.inputs = {from};
    cast.outputs = {to};
    s_.graph.add_node(std::move(cast), before);
  }

  Specialized& s_;
  std::map<ValueId, ValueId> wide_;
};

}  // namespace

std::string widened_name(const std::string& half) { return half + "_float32"; }

void widen_halves(Specialized& specialized) { Widener(specialized).run(); }

}  // namespace ember::plan
