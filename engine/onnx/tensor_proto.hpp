#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <ember/tensor.hpp>

namespace ember::onnx {

/// A tensor and the name its TensorProto gives it (may be empty).
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// Reads a file that holds one TensorProto (".pb", as in ONNX test cases). Throws Error that names the
/// file. A SequenceProto or OptionalProto does not parse as a tensor and is refused.
NamedTensor read_tensor_file(const std::filesystem::path& file);
/// The same from memory; `name` is for messages.
NamedTensor read_tensor_bytes(std::span<const std::byte> bytes, const std::string& name = "<memory>");
/// A TensorProto's bytes.
std::vector<std::byte> write_tensor_bytes(const NamedTensor& tensor);

}  // namespace ember::onnx
