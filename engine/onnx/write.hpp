#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "graph/graph.hpp"

namespace ember::onnx {

/// A graph as ONNX: the same bytes for the same graph. Reading them gives an equal graph. Throws Error
/// (ResourceLimit) beyond protobuf's 2 GB.
std::vector<std::byte> write_bytes(const graph::Graph& graph);
/// Writes those bytes to a file that appears whole or not at all. Throws Error (Io).
void write_file(const graph::Graph& graph, const std::filesystem::path& file);
/// The SHA-256 of those bytes, and their number; the weights are not copied for it.
std::string hash_bytes(const graph::Graph& graph);
std::size_t count_bytes(const graph::Graph& graph);

}  // namespace ember::onnx
