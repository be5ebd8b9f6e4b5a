#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "graph/graph.hpp"
#include "kernels/activation.hpp"

namespace ember::ops {

/// An activation in a graph: one node (Relu, Clip, ...), or several that together are one
/// (x·Sigmoid(x) is Silu; x·HardSigmoid(x, 1/6, 1/2) and x·Clip(x+3,0,6)/6 are HardSwish;
/// 0.5·x·(1+Erf(x/√2)) is Gelu; its tanh form GeluTanh; x·Tanh(Softplus(x)) is Mish).
struct ActivationPattern {
  kernels::Activation function;                      ///< parameters resolved; slopes point into `slopes`
  std::shared_ptr<const std::vector<float>> slopes;  ///< PRelu only, padded as Activation::slopes wants
  graph::ValueId input = graph::kNoValue;            ///< before the activation
  graph::ValueId output = graph::kNoValue;           ///< after it
  std::vector<graph::NodeId> nodes;                  ///< all nodes of it, the one that makes `output` last
};

/// The activation that ends in node `last` (makes its output 0), or nullopt. Patterns of several nodes
/// are only recognised when no inner value is read elsewhere or is a graph output. Only when parameters
/// are constant (a Clip with computed bounds is no pattern), float32 (or half), and for PRelu when the slope
/// is a scalar or one per channel of axis 1 (of the last axis for rank 2).
std::optional<ActivationPattern> match_activation(const graph::Graph& graph, graph::NodeId last);

/// Every activation of a graph, in order, longest match wins (the Sigmoid inside a Silu is not listed).
std::vector<ActivationPattern> find_activations(const graph::Graph& graph);

/// ONNX-like name of an activation: "Relu", "Silu", "Gelu", ...
const char* to_string(kernels::ActivationKind kind);

}  // namespace ember::ops
