#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message_lite.h>

namespace ember::onnx {

/// Reads a message; false when the stream holds none.
using Parse = std::function<bool(google::protobuf::io::CodedInputStream&)>;

/// Parses a message straight from a regular file, without holding the file in memory. `what` names the
/// kind of file in errors ("an ONNX model"). Throws Error (Io, InvalidModel, ResourceLimit).
void parse_file(const std::filesystem::path& file, std::string_view what, const Parse& parse);
/// Parses a message from memory. Throws Error (InvalidModel, ResourceLimit).
void parse_bytes(std::span<const std::byte> bytes, std::string_view what, const Parse& parse);
/// Parses all of a message.
Parse whole(google::protobuf::MessageLite& message);
/// Serialises a message, always to the same bytes. Throws Error (ResourceLimit) beyond protobuf's 2 GB.
std::string serialize(const google::protobuf::MessageLite& message);
/// Appends what comes before the `bytes` bytes of a field that is a message, text or bytes.
void append_prefix(int field, std::size_t bytes, std::string& to);
/// What serialize() throws, for a message put together from parts.
[[noreturn]] void refuse_size();

}  // namespace ember::onnx
