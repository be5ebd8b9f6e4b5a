#pragma once

#include <functional>
#include <optional>
#include <string>

#include <onnx/onnx_pb.h>

#include "graph/graph.hpp"
#include "onnx/external_data.hpp"

namespace ember::onnx {

/// Reads one attribute. Graph attributes go through `read_subgraph`. Returns nullopt and says in
/// `unsupported` why, for a kind of attribute that a Graph cannot hold. Throws Error.
std::optional<graph::Attribute> read_attribute(
    ::onnx::AttributeProto& proto, ExternalData& external,
    const std::function<std::shared_ptr<const graph::Graph>(::onnx::GraphProto&)>& read_subgraph,
    std::string& unsupported);

}  // namespace ember::onnx
