#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <ember/file.hpp>

namespace ember {

/// A file that appears whole or not at all: it is written under another name in the same folder and
/// renamed by commit(); without commit() it is removed. A device or pipe is written in place. Every
/// function throws Error (Io) that names the file and the system's reason.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& file);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Makes the content durable and gives the file its name. Nothing can be written afterwards.
  void commit();

 private:
  void open_temporary(const std::filesystem::path& target);
  void discard() noexcept;
  [[noreturn]] void fail(const char* doing, int error) const;

  std::string name_;                 ///< as the caller spelt it, for messages
  std::filesystem::path target_;     ///< where symbolic links lead
  std::filesystem::path temporary_;  ///< empty when written in place
  int descriptor_ = -1;
};

}  // namespace ember
