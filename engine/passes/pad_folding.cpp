#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ops/op.hpp"
#include "passes/passes.hpp"
#include "passes/rewrite.hpp"

namespace ember::passes {

namespace {

using graph::Graph;
using graph::kNoNode;
using graph::NodeId;
using graph::ValueId;
using ops::NodeContext;

using Integers = std::vector<std::int64_t>;

std::optional<Integers> constant_integers(const Graph& graph, ValueId id) {
  const Tensor* tensor = graph.constant(id);
  if (tensor == nullptr || tensor->type() != DataType::Int64) return std::nullopt;
  const auto data = tensor->data<std::int64_t>();
  return Integers(data.begin(), data.end());
}

/// Every bit of a zero is zero, but for the sign of a float, which no sum notices.
bool is_zero(const Tensor& tensor) {
  const auto* bytes = static_cast<const unsigned char*>(tensor.raw());
  return std::all_of(bytes, bytes + tensor.bytes(), [](unsigned char byte) { return byte == 0; });
}

bool pads_with_zero(const NodeContext& pad) {
  if (pad.text("mode", "constant") != "constant") return false;
  if (pad.opset() < 11) return pad.real("value", 0.0F) == 0.0F;
  if (!pad.has_input(2)) return true;
  const Tensor* value = pad.graph().constant(pad.node().inputs[2]);
  return value != nullptr && is_zero(*value);
}

/// The amounts per axis, all begins and then all ends, for a tensor of `rank` axes.
std::optional<Integers> amounts(const NodeContext& pad, std::size_t rank) {
  if (pad.opset() < 11) {
    Integers pads = pad.integers("pads");
    return pads.size() == 2 * rank ? std::optional(std::move(pads)) : std::nullopt;
  }
  const auto pads = constant_integers(pad.graph(), input_of(pad.node(), 1));
  if (!pads.has_value()) return std::nullopt;
  if (!pad.has_input(3)) return pads->size() == 2 * rank ? pads : std::nullopt;
  const auto axes = constant_integers(pad.graph(), input_of(pad.node(), 3));
  if (!axes.has_value() || pads->size() != 2 * axes->size()) return std::nullopt;
  Integers spread(2 * rank, 0);
  for (std::size_t i = 0; i < axes->size(); ++i) {
    const std::int64_t axis = (*axes)[i] < 0 ? (*axes)[i] + static_cast<std::int64_t>(rank) : (*axes)[i];
    if (axis < 0 || axis >= static_cast<std::int64_t>(rank)) return std::nullopt;
    spread[static_cast<std::size_t>(axis)] = (*pads)[i];
    spread[static_cast<std::size_t>(axis) + rank] = (*pads)[i + axes->size()];
  }
  return spread;
}

/// The spatial part of the padding (begins, then ends); nullopt when it touches batch or channels, or
/// takes elements away.
std::optional<Integers> spatial_amounts(const NodeContext& pad, std::size_t spatial) {
  const std::size_t rank = spatial + 2;
  const auto all = amounts(pad, rank);
  if (!all.has_value() || std::ranges::any_of(*all, [](std::int64_t n) { return n < 0; }))
    return std::nullopt;
  for (const std::size_t axis : {std::size_t{0}, std::size_t{1}}) {
    if ((*all)[axis] != 0 || (*all)[axis + rank] != 0) return std::nullopt;
  }
  Integers pads;
  for (const std::size_t side : {std::size_t{0}, rank}) {
    for (std::size_t axis = 2; axis < rank; ++axis) pads.push_back((*all)[side + axis]);
  }
  return pads;
}

/// The window's own pads, nullopt when they follow from the input's extent.
std::optional<Integers> own_pads(const NodeContext& window, std::size_t spatial) {
  const std::string automatic = window.text("auto_pad", "NOTSET");
  if (automatic == "VALID") return Integers(2 * spatial, 0);
  if (automatic != "NOTSET") return std::nullopt;
  Integers pads = window.integers("pads", Integers(2 * spatial, 0));
  return pads.size() == 2 * spatial ? std::optional(std::move(pads)) : std::nullopt;
}

std::size_t spatial_axes(const NodeContext& window) {
  if (is_op(window.node(), "AveragePool")) return window.integers("kernel_shape").size();
  const Tensor* weight = window.graph().constant(input_of(window.node(), 1));
  return weight == nullptr || weight->shape().rank() < 3
             ? 0
             : static_cast<std::size_t>(weight->shape().rank() - 2);
}

/// AveragePool divides by what lies on the padded input. That equals the elements of the window, as it did
/// with padding in a node of its own, when every window lies inside and its own pads do not count
/// differently.
bool average_allows(const NodeContext& pool, const Integers& own, const Integers& added) {
  if (pool.integer("ceil_mode", 0) != 0) return false;
  const bool none = std::ranges::all_of(own, [](std::int64_t n) { return n == 0; });
  if (!none && pool.integer("count_include_pad", 0) == 0) return false;
  // Larger pads than windows are not valid ONNX everywhere.
  const Integers kernel = pool.integers("kernel_shape");
  for (std::size_t i = 0; i < added.size(); ++i) {
    if (own[i] + added[i] >= kernel[i % kernel.size()]) return false;
  }
  return true;
}

bool fold(Graph& graph, NodeId id) {
  const ValueId between = input_of(graph.node(id), 0);
  const NodeId pad_id = sole_producer(graph, between, id);
  if (pad_id == kNoNode || !is_op(graph.node(pad_id), "Pad")) return false;
  const NodeContext window(graph, id);
  const NodeContext pad(graph, pad_id);
  const std::size_t spatial = spatial_axes(window);
  if (spatial == 0 || !pads_with_zero(pad)) return false;
  const auto added = spatial_amounts(pad, spatial);
  const auto own = own_pads(window, spatial);
  if (!added.has_value() || !own.has_value()) return false;
  const bool is_average = is_op(window.node(), "AveragePool");
  if (is_average && !average_allows(window, *own, *added)) return false;

  Integers pads = *own;
  for (std::size_t i = 0; i < pads.size(); ++i) pads[i] += (*added)[i];
  graph::Node& node = graph.node(id);
  node.attributes.erase("auto_pad");
  node.attributes.insert_or_assign("pads", std::move(pads));
  if (is_average) node.attributes.insert_or_assign("count_include_pad", std::int64_t{1});
  graph.set_input(id, 0, input_of(graph.node(pad_id), 0));
  graph.remove_node(pad_id);
  return true;
}

}  // namespace

int fold_pads(Graph& graph) { return rewrite_each(graph, {"Conv", "AveragePool"}, fold); }

}  // namespace ember::passes
