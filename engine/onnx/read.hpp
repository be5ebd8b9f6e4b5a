#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.hpp"

namespace ember::onnx {

/// Opset versions of ai.onnx that are read. The newest is that of ONNX 1.23.
inline constexpr int kOldestOpset = 7;
inline constexpr int kNewestOpset = 28;
/// IR versions that are read. The known ones end at 14; a few later ones are tried, since new versions
/// have so far only added fields.
inline constexpr std::int64_t kOldestIrVersion = 3;
inline constexpr std::int64_t kNewestIrVersion = 20;

/// Reads a model; external data comes from the file's folder. The graph is sorted and verified.
/// Valid ONNX that a Graph cannot hold (string tensors, sequences, functions, …) is appended to
/// `unsupported`, one line per thing; the graph is then incomplete and only good for looking up what
/// else is unsupported. Throws Error (InvalidModel, Io, ResourceLimit). Operators are not checked.
graph::Graph read_file(const std::filesystem::path& file, std::vector<std::string>& unsupported);
/// The same from memory; external data is refused. `name` is for messages.
graph::Graph read_bytes(std::span<const std::byte> bytes, const std::string& name,
                        std::vector<std::string>& unsupported);

/// The same, but what is unsupported is one Error (Unsupported).
graph::Graph read_file(const std::filesystem::path& file);
graph::Graph read_bytes(std::span<const std::byte> bytes, const std::string& name = "<memory>");

}  // namespace ember::onnx
