#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ember/tensor.hpp>

#include "graph/graph.hpp"
#include "plan/specialize.hpp"

namespace ember::surgery {

/// A graph with what its input shapes decide: every shape, and the content of every value that follows from
/// constants alone. Open extents count as 1, so that no channel depends on them. The graph is borrowed.
class Facts {
 public:
  /// Throws Error for shapes the network cannot take.
  explicit Facts(const graph::Graph& graph);

  [[nodiscard]] const graph::Graph& graph() const noexcept { return *graph_; }
  /// nullptr when only a run can tell, and for kNoValue.
  [[nodiscard]] const Shape* shape(graph::ValueId id) const;
  [[nodiscard]] DataType type(graph::ValueId id) const;
  /// The content of a value that is the same in every run, else nullptr.
  [[nodiscard]] const Tensor* known(graph::ValueId id) const;
  /// A known value of integers.
  [[nodiscard]] std::optional<std::vector<std::int64_t>> integers(graph::ValueId id) const;

 private:
  const graph::Graph* graph_;
  plan::Specialized specialized_;
};

/// Element `index` of a tensor of any numeric type.
double number_at(const Tensor& tensor, std::int64_t index);

}  // namespace ember::surgery
