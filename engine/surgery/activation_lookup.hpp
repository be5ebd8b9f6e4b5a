#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.hpp"
#include "ops/activation_pattern.hpp"

namespace ember::surgery {

/// Finds activations by the names an audit gives them. Borrows the patterns, not the graph.
class ActivationLookup {
 public:
  ActivationLookup(const graph::Graph& graph, const std::vector<ops::ActivationPattern>& patterns);

  /// The activation whose last node has this label, or whose output has this name; both when both are
  /// given and differ from "". nullptr when there is none.
  [[nodiscard]] const ops::ActivationPattern* find(std::string_view node, std::string_view value) const;
  /// All of them, for messages: "a, b and 7 more".
  [[nodiscard]] std::string listing() const;

 private:
  struct Entry {
    std::string node, value;
    const ops::ActivationPattern* pattern;
  };
  std::vector<Entry> entries_;
};

/// The element type of a computed value: what the graph says, or what follows from the nodes before it;
/// float32 where neither tells.
DataType element_type(const graph::Graph& graph, graph::ValueId value);

/// A tensor of one number in a floating type.
Tensor number_of(DataType type, const Shape& shape, double value);

}  // namespace ember::surgery
