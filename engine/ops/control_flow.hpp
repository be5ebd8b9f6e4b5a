#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <ember/tensor.hpp>

#include "ops/op.hpp"

namespace ember::ops {

/// Where the captures of one subgraph attribute lie in graph::Node::captures.
struct CaptureRange {
  std::size_t first = 0;
  std::size_t count = 0;

  template <class T>
  [[nodiscard]] std::span<T> of(std::span<T> captures) const {
    return captures.subspan(first, count);
  }
};

/// The captures of subgraph attribute `name` ("then_branch", "else_branch"), in the order of its
/// Graph::captured. Fails (InvalidModel) when the node has no such subgraph.
CaptureRange capture_range(const NodeContext& node, std::string_view name);

/// The attribute of an If node that a condition selects: "then_branch" or "else_branch".
/// Fails unless the condition is one bool.
std::string_view selected_branch(const NodeContext& node, const ConstTensorView& condition);

/// Types and shapes of a subgraph's outputs, given what is known of the values it captures (in the order
/// of Graph::captured). Throws DataDependent when something needed is not known, and Error.
std::vector<InferContext::Output> infer_subgraph(const graph::Graph& subgraph,
                                                 std::span<const InferContext::Input> captured);

}  // namespace ember::ops
