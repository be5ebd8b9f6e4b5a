#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ember::data {

/// Bytes that are read by range: of a file, a zip entry, memory. One thread at a time.
class ByteReader {
 public:
  virtual ~ByteReader() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  /// Fills `to` with the bytes from `offset` on, all of which must exist. Throws Error.
  virtual void read(std::uint64_t offset, std::span<std::byte> to) = 0;
};

/// A regular file. Throws Error (Io) when it cannot be opened or is something else.
std::unique_ptr<ByteReader> open_file(const std::filesystem::path& file);
std::unique_ptr<ByteReader> open_memory(std::vector<std::byte> bytes);
/// What a gzip file holds, expanded as it is read; going back starts from the beginning. It is run through
/// once to learn its size, up to what `limit` allows, which is asked with the first bytes. Throws Error.
std::unique_ptr<ByteReader> open_gzip(const std::filesystem::path& file,
                                      std::uint64_t (*limit)(std::span<const std::byte> head));

/// A whole file. Throws Error (Io).
std::vector<std::byte> read_file(const std::filesystem::path& file);
/// SHA-256 of a file's bytes, as `sha256sum` prints it. Throws Error (Io).
std::string file_hash(const std::filesystem::path& file);

}  // namespace ember::data
