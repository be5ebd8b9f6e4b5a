#pragma once

#include "graph/graph.hpp"

namespace ember::passes {

// The portable passes, each in the file of its name in the list (passes.cpp). All return how many places
// changed.

/// Evaluates nodes whose inputs are all constant.
int fold_constants(graph::Graph& graph);
int remove_identities(graph::Graph& graph);
int remove_dropouts(graph::Graph& graph);
/// Zero padding before Conv, or before AveragePool where it is exact, goes into their own pads.
int fold_pads(graph::Graph& graph);
/// A convolution whose filters are zero between evenly spaced taps gets those taps and a dilation instead.
int recover_dilations(graph::Graph& graph);
/// A constant added behind Conv or ConvTranspose, one or one per channel, goes into their bias.
int fold_biases(graph::Graph& graph);
/// BatchNormalization behind Conv, ConvTranspose or Gemm goes into their weights and bias.
int fold_batch_normalizations(graph::Graph& graph);
int remove_dead_code(graph::Graph& graph);

}  // namespace ember::passes
