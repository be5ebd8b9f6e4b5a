#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include <google/protobuf/message_lite.h>

namespace ember::onnx {

/// Parses a message straight from a regular file, without holding the file in memory. `what` names the
/// kind of file in errors ("an ONNX model"). Throws Error (Io, InvalidModel, ResourceLimit).
void parse_file(const std::filesystem::path& file, std::string_view what,
                google::protobuf::MessageLite& message);
/// Parses a message from memory. Throws Error (InvalidModel, ResourceLimit).
void parse_bytes(std::span<const std::byte> bytes, std::string_view what,
                 google::protobuf::MessageLite& message);
/// Serialises a message, always to the same bytes. Throws Error (ResourceLimit) beyond protobuf's 2 GB.
std::vector<std::byte> serialize(const google::protobuf::MessageLite& message);

}  // namespace ember::onnx
