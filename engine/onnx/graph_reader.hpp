#pragma once

#include <string>
#include <vector>

#include <onnx/onnx_pb.h>

#include "graph/graph.hpp"
#include "onnx/external_data.hpp"
#include "onnx/model_parser.hpp"

namespace ember::onnx {

/// What all graphs of one model share while they are read.
struct ReadContext {
  const graph::Metadata& metadata;
  ExternalData& external;
  std::vector<RawElements>& elements;     ///< of the main graph's initialisers
  std::vector<std::string>& unsupported;  ///< one line per thing a Graph cannot hold
};

/// Reads a model's main graph. Tensor data is moved out of `proto`. Throws Error.
graph::Graph read_graph(::onnx::GraphProto& proto, ReadContext& context);

}  // namespace ember::onnx
