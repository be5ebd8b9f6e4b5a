#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <ember/tensor.hpp>

#include "graph/graph.hpp"

namespace ember::plan {

/// What is known of a value once the input shapes are fixed.
struct Fact {
  DataType type = DataType::Undefined;
  std::optional<Shape> shape;  ///< nullopt: only a run can tell
};

/// A graph for fixed input shapes: everything that follows from them is folded into constants.
struct Specialized {
  graph::Graph graph;
  std::vector<Fact> facts;  ///< by ValueId
  /// The branches of every If whose condition only a run can tell.
  struct Branches {
    std::unique_ptr<Specialized> then_branch, else_branch;
  };
  std::map<graph::NodeId, Branches> branches;

  [[nodiscard]] const Fact& fact(graph::ValueId id) const { return facts[static_cast<std::size_t>(id)]; }
  [[nodiscard]] bool is_static(graph::ValueId id) const {
    return id == graph::kNoValue || fact(id).shape.has_value();
  }
  /// Adds a value with a known fact.
  graph::ValueId add_value(const std::string& name, const Fact& fact);
  graph::ValueId add_constant(const std::string& name, std::shared_ptr<const Tensor> tensor);
};

/// One branch of an If: its graph, and the outer values that graph.captured stands for.
struct Branch {
  const graph::Graph* graph;
  std::vector<graph::ValueId> captures;
};
Branch branch_of(const graph::Graph& graph, graph::NodeId conditional, bool taken);

/// Shapes for the graph's inputs from what the caller wants and the model declares: open extents are 1.
/// Throws Error (InvalidArgument) for an unknown input, or a shape that contradicts a fixed extent
/// (except on axis 0, the batch, which may be overridden).
std::map<std::string, Shape> resolve_input_shapes(const graph::Graph& graph,
                                                  const std::map<std::string, Shape>& wanted);

/// Infers and folds everything that the input shapes decide. `captured` gives type, shape and (for
/// constants) content of graph.captured, for subgraphs. Throws Error for shapes the network cannot take.
struct CapturedFact {
  Fact fact;
  std::shared_ptr<const Tensor> constant;
};
Specialized specialize(const graph::Graph& graph, const std::map<std::string, Shape>& input_shapes,
                       std::span<const CapturedFact> captured = {});

/// Computes half-precision nodes in float32: constants are widened once, casts are put where halves
/// enter and leave, and the roundings in between disappear.
void widen_halves(Specialized& specialized);

/// Per node that a rewrite below made, the labels of the nodes it stands for beyond its own.
using Labels = std::map<graph::NodeId, std::vector<std::string>>;

// Rewrites of a specialised graph. Values in `kept` are seen from outside and stay.

/// Replaces activations spread over several nodes by one node (Swish, Gelu, HardSwish, Mish), so
/// that they run as one loop.
Labels merge_activations(Specialized& specialized, const std::set<graph::ValueId>& kept);

/// Replaces chains of reshapes, transposes and picks that only put channels in another order (a channel
/// shuffle, or one half of it) by one Gather of channels, which can stay in the blocked layout.
Labels merge_channel_moves(Specialized& specialized, const std::set<graph::ValueId>& kept);

/// Gives convolutions of few small groups that do not fill blocks of `block` channels one group, with zeros
/// in its filters, and takes a Gather of a convolution's channels into its filters. As in any padded or
/// transformed convolution, what is not finite in one group may then reach the others.
Labels spread_small_groups(Specialized& specialized, int block, const std::set<graph::ValueId>& kept);

/// Makes one convolution of several that read the same value with the same windows and together fill at most
/// one block of `block` channels, and the same of depthwise ones behind them: detection heads, of which each
/// would compute a block for a few channels.
Labels merge_siblings(Specialized& specialized, int block, const std::set<graph::ValueId>& kept);

/// Replaces attention written out as MatMul, Softmax and MatMul (with scale, mask and Transposes) by one
/// node, FusedAttention, which has a kernel but no ONNX meaning: inputs query, key, value and perhaps a mask;
/// `*_axes` say which axis of each operand is its batch, head, row and column, and `flops` what it costs.
Labels merge_attention(Specialized& specialized, const std::set<graph::ValueId>& kept);

/// Makes transposed convolutions whose square windows do not overlap, and of which one position's results
/// fill at most a block of `block` channels, pointwise ones with a DepthToSpace behind: a last layer of one
/// channel would compute a block per result.
Labels flatten_narrow_transposed(Specialized& specialized, int block);

}  // namespace ember::plan
