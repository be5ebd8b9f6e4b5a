#pragma once

#include "graph/graph.hpp"

namespace ember::auditing {

/// Whether the channels of `value` lie on its last axis although its rank is 3 or more: true for what a
/// matrix product or LayerNormalization made ([N, T, C], as in transformers), seen through elementwise
/// operators; false for feature maps (axis 1). A Transpose that moves the channels is followed, also when a
/// Reshape comes after it ([N, C, H, W] → [N, H, W, C] → [N, HW, C], as in detection heads). A rank of 2 has
/// its channels last in any case.
bool channels_last(const graph::Graph& graph, graph::ValueId value);

}  // namespace ember::auditing
