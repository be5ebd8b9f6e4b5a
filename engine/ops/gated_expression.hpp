#pragma once

#include <array>
#include <optional>
#include <vector>

#include "graph/graph.hpp"

namespace ember::ops {

/// Coefficients of 1, x, x², x³.
using Cubic = std::array<double, 4>;

/// x · (offset + scale · f(argument(x))), as exporters write gated activations with Mul, Div, Add, Sub, Neg
/// and Pow nodes in any order and grouping.
struct GatedExpression {
  graph::ValueId input = graph::kNoValue;  ///< x
  double offset = 0.0;
  double scale = 1.0;
  graph::NodeId function = graph::kNoNode;  ///< computes f; its input 0 is the argument
  /// The argument as a polynomial of x; nullopt when it is none.
  std::optional<Cubic> argument;
  /// How far constants may be from their ideal because of the precision they are stored in, relatively.
  double tolerance = 1e-5;
  std::vector<graph::NodeId> nodes;  ///< all nodes seen, `function` included, in no order
  int constant_rank = 0;             ///< the highest rank of a scalar constant among them
};

/// All readings of node `last` (a Mul or Div) as such an expression; at most two, one for each factor as x.
std::vector<GatedExpression> gated_expressions(const graph::Graph& graph, graph::NodeId last);

}  // namespace ember::ops
