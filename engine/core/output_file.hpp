#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <ember/file.hpp>

namespace ember {

/// A file that appears whole or not at all: it is written without a name (under another one where the file
/// system knows no files without) in the same folder and gets its name from commit(); without commit() it is
/// gone, also when the process is killed. A device or pipe is written in place. Every function throws Error
/// (Io) that names the file and the system's reason.
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
  [[nodiscard]] std::filesystem::path temporary_name(int attempt) const;
  void give_name();
  void discard() noexcept;
  [[noreturn]] void fail(const char* doing, int error) const;

  std::string name_;                 ///< as the caller spelt it, for messages
  std::filesystem::path target_;     ///< where symbolic links lead
  std::filesystem::path temporary_;  ///< empty when written in place
  bool unnamed_ = false;             ///< nothing leads to the file but the descriptor
  int descriptor_ = -1;
};

}  // namespace ember
