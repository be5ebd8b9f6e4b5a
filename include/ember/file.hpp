#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace ember {

/// Writes a file that appears whole or not at all: under another name first, then renamed. A device
/// or pipe is written in place. Throws Error (Io).
void write_file(const std::filesystem::path& file, std::span<const std::byte> bytes);
void write_file(const std::filesystem::path& file, std::string_view text);

struct FileContent {
  std::filesystem::path file;
  std::span<const std::byte> bytes;
};
/// Writes several files, in order; none appears before all of them are written. Throws Error (Io).
void write_files(std::span<const FileContent> files);

}  // namespace ember
