#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/op.hpp"
#include "plan/specialize.hpp"

namespace ember::plan {

using graph::kNoNode;
using graph::NodeId;
using graph::ValueId;

namespace {

class NarrowTransposed {
 public:
  NarrowTransposed(Specialized& specialized, int block) : s_(specialized), block_(block) {}

  Labels run() {
    const std::vector<NodeId> order = s_.graph.order();
    for (const NodeId id : order) {
      if (const std::int64_t size = window_of(id); size > 0) replace(id, size);
    }
    s_.graph.remove_dead();
    return std::move(labels_);
  }

 private:
  [[nodiscard]] const Tensor* constant(NodeId id, std::size_t input) const {
    const graph::Node& node = s_.graph.node(id);
    return input < node.inputs.size() ? s_.graph.constant(node.inputs[input]) : nullptr;
  }

  /// The size of square windows that do not overlap and whose results together fill at most one block; else
  /// 0.
  [[nodiscard]] std::int64_t window_of(NodeId id) const {
    const ops::NodeContext node(s_.graph, id);
    if (node.op() != "ConvTranspose" || !node.node().domain.empty() || node.opset() < 11) return 0;
    const Tensor* filters = constant(id, 1);
    if (filters == nullptr || filters->type() != DataType::Float32 || filters->shape().rank() != 4) return 0;
    if (!s_.is_static(node.node().inputs[0]) || !s_.is_static(node.node().outputs[0])) return 0;
    if (node.has_input(2) && constant(id, 2) == nullptr) return 0;
    const Shape& shape = filters->shape();
    const std::int64_t size = shape[2];
    const auto all = [&](const char* name, std::int64_t value) {
      const std::vector<std::int64_t> values = node.integers(name);
      return std::ranges::all_of(values, [&](std::int64_t v) { return v == value; });
    };
    const bool apart = shape[3] == size && node.has("strides") && all("strides", size) && all("dilations", 1);
    const bool bare = all("pads", 0) && all("output_padding", 0) && !node.has("output_shape") &&
                      node.text("auto_pad", "NOTSET") == "NOTSET";
    const bool narrow = shape[1] * size * size <= block_ && shape.elements() > 0;
    return size > 1 && apart && bare && narrow && node.integer("group", 1) == 1 ? size : 0;
  }

  /// A pointwise convolution that gives every position's window as channels, and a DepthToSpace.
  void replace(NodeId id, std::int64_t size) {
    const Tensor& filters = *constant(id, 1);
    const Tensor* bias = constant(id, 2);
    const std::int64_t in = filters.shape()[0];
    const std::int64_t taps = size * size;
    const std::int64_t out = filters.shape()[1] * taps;
    const std::string label = s_.graph.label(id);
    // [in][out] to [out][in], a channel being (output channel, row, column) as before.
    auto turned = std::make_shared<Tensor>(DataType::Float32, Shape{out, in, 1, 1});
    for (std::int64_t i = 0; i < in * out; ++i) {
      turned->data<float>()[static_cast<std::size_t>(i % out * in + i / out)] =
          filters.data<float>()[static_cast<std::size_t>(i)];
    }
    graph::Node point;
    point.name = label;
    point.op = "Conv";
    point.inputs = {s_.graph.node(id).inputs[0], s_.add_constant(label + " windows", std::move(turned))};
    if (bias != nullptr) {
      auto repeated = std::make_shared<Tensor>(DataType::Float32, Shape{out});
      for (std::int64_t i = 0; i < out; ++i) {
        repeated->data<float>()[static_cast<std::size_t>(i)] =
            bias->data<float>()[static_cast<std::size_t>(i / taps)];
      }
      point.inputs.push_back(s_.add_constant(label + " bias", std::move(repeated)));
    }
    const Shape& x = *s_.fact(point.inputs[0]).shape;
    const Fact fact{.type = DataType::Float32, .shape = Shape{x[0], out, x[2], x[3]}};
    point.outputs = {s_.add_value(label + " as channels", fact)};
    graph::Node spread;
    spread.name = label + " in place";
    spread.op = "DepthToSpace";
    spread.attributes["blocksize"] = size;
    spread.attributes["mode"] = std::string("CRD");
    spread.inputs = point.outputs;
    spread.outputs = {s_.graph.node(id).outputs[0]};
    const auto& order = s_.graph.order();
    const auto next = std::ranges::find(order, id) + 1;
    const NodeId before = next == order.end() ? kNoNode : *next;
    s_.graph.remove_node(id);
    s_.graph.add_node(std::move(point), before);
    labels_.emplace(s_.graph.add_node(std::move(spread), before), std::vector<std::string>{label});
  }

  Specialized& s_;
  int block_;
  Labels labels_;
};

}  // namespace

Labels flatten_narrow_transposed(Specialized& specialized, int block) {
  return NarrowTransposed(specialized, block).run();
}

}  // namespace ember::plan
