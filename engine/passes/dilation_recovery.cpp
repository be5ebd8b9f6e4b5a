#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/op.hpp"
#include "passes/passes.hpp"
#include "passes/rewrite.hpp"

namespace ember::passes {

namespace {

using graph::Graph;
using graph::NodeId;

using Integers = std::vector<std::int64_t>;

/// Whether every filter element that is not zero has a tap along `axis` that is a multiple of `distance`.
/// Most filters have none that is zero, so that the first few elements tell.
bool only_multiples(const Tensor& filters, int axis, std::int64_t distance) {
  const auto data = filters.data<float>();
  const Shape& shape = filters.shape();
  const std::int64_t run = shape.elements(axis + 1, shape.rank());
  for (std::size_t i = 0; i < data.size(); ++i) {
    const std::int64_t tap = static_cast<std::int64_t>(i) / run % shape[axis];
    if (data[i] != 0.0F && tap % distance != 0) return false;
  }
  return true;
}

/// The largest distance of which all taps along an axis that are not zero are multiples, and the last tap is.
std::int64_t distance_of_taps(const Tensor& filters, int axis) {
  const std::int64_t last = filters.shape()[axis] - 1;
  for (std::int64_t distance = last; distance > 1; --distance) {
    if (last % distance == 0 && only_multiples(filters, axis, distance)) return distance;
  }
  return 1;
}

/// Every `distances[i]`-th tap along spatial axis i.
Tensor thinned(const Tensor& filters, const Integers& distances) {
  const Shape& shape = filters.shape();
  Integers dims(shape.begin(), shape.end());
  for (std::size_t i = 0; i < distances.size(); ++i) dims[i + 2] = (dims[i + 2] - 1) / distances[i] + 1;
  Tensor result(DataType::Float32, Shape(dims));
  const auto from = filters.data<float>();
  const auto to = result.data<float>();
  for (std::size_t at = 0; at < to.size(); ++at) {
    auto rest = static_cast<std::int64_t>(at);
    std::int64_t source = 0;
    std::int64_t stride = 1;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      const auto i = static_cast<std::size_t>(axis);
      const std::int64_t step = axis < 2 ? 1 : distances[i - 2];
      source += rest % dims[i] * step * stride;
      rest /= dims[i];
      stride *= shape[axis];
    }
    to[at] = from[static_cast<std::size_t>(source)];
  }
  return result;
}

bool recover(Graph& graph, NodeId id) {
  const ops::NodeContext node(graph, id);
  const Tensor* filters = graph.constant(input_of(node.node(), 1));
  if (filters == nullptr || filters->type() != DataType::Float32 || filters->shape().rank() < 3 ||
      filters->shape().elements() == 0)
    return false;
  Integers distances;
  for (int axis = 2; axis < filters->shape().rank(); ++axis)
    distances.push_back(distance_of_taps(*filters, axis));
  if (std::ranges::all_of(distances, [](std::int64_t distance) { return distance == 1; })) return false;
  Integers dilations = node.integers("dilations", Integers(distances.size(), 1));
  if (dilations.size() != distances.size()) return false;
  Tensor thin = thinned(*filters, distances);
  Integers kernel;
  for (std::size_t i = 0; i < distances.size(); ++i) {
    dilations[i] *= distances[i];
    kernel.push_back(thin.shape()[static_cast<int>(i) + 2]);
  }
  const std::string name = graph.value(node.node().inputs[1]).name;
  const graph::ValueId constant = graph.add_constant(name, std::move(thin));
  graph.set_input(id, 1, constant);
  graph.node(id).attributes["dilations"] = std::move(dilations);
  graph.node(id).attributes["kernel_shape"] = std::move(kernel);
  return true;
}

}  // namespace

int recover_dilations(graph::Graph& graph) { return rewrite_each(graph, {"Conv"}, recover); }

}  // namespace ember::passes
