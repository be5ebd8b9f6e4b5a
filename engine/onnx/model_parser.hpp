#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include <onnx/onnx_pb.h>

namespace ember::onnx {

/// Raw elements that are not in their TensorProto any more.
struct RawElements {
  std::shared_ptr<void> memory;  ///< from allocate_aligned(); null: the TensorProto has its own
  std::size_t bytes = 0;
};

/// A model whose larger weights were read to where they stay. Protobuf would read them into strings, which
/// are not aligned and, when long, grow by copying themselves.
struct ParsedModel {
  ::onnx::ModelProto proto;
  std::vector<RawElements> elements;  ///< by position in proto.graph().initializer()
};

/// Parses a model from a regular file, or from memory. Throws Error (Io, InvalidModel, ResourceLimit).
ParsedModel parse_model_file(const std::filesystem::path& file);
ParsedModel parse_model_bytes(std::span<const std::byte> bytes);

}  // namespace ember::onnx
