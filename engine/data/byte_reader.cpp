#include "data/byte_reader.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "core/sha256.hpp"

namespace ember::data {

namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& reason) {
  throw Error(ErrorCode::Io, fmt::format("cannot read '{}': {}", file.string(), reason));
}

class FileReader final : public ByteReader {
 public:
  explicit FileReader(const std::filesystem::path& file) : file_(file) {
    // O_NONBLOCK: opening a pipe must be refused below, not waited for.
    descriptor_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor_ < 0) fail(file, std::generic_category().message(errno));
    struct stat status{};
    const bool known = ::fstat(descriptor_, &status) == 0;
    if (!known || !S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      fail(file, "it is not a regular file");
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~FileReader() override { ::close(descriptor_); }
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  [[nodiscard]] std::uint64_t size() const override { return size_; }

  void read(std::uint64_t offset, std::span<std::byte> to) override {
    while (!to.empty()) {
      const ssize_t got = ::pread(descriptor_, to.data(), to.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail(file_, std::generic_category().message(errno));
      if (got == 0) fail(file_, "it ends early");
      to = to.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
  }

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

class MemoryReader final : public ByteReader {
 public:
  explicit MemoryReader(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }

  void read(std::uint64_t offset, std::span<std::byte> to) override {
    if (offset > bytes_.size() || to.size() > bytes_.size() - offset) {
      throw Error(ErrorCode::InvalidData, "the data end early");
    }
    if (!to.empty()) std::memcpy(to.data(), bytes_.data() + offset, to.size());
  }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace

std::unique_ptr<ByteReader> open_file(const std::filesystem::path& file) {
  return std::make_unique<FileReader>(file);
}

std::unique_ptr<ByteReader> open_memory(std::vector<std::byte> bytes) {
  return std::make_unique<MemoryReader>(std::move(bytes));
}

std::unique_ptr<ByteReader> open_gzip(const std::filesystem::path& file,
                                      std::uint64_t (*limit)(std::span<const std::byte> head)) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> stream(gzopen(file.c_str(), "rbe"), gzclose);
  if (!stream) fail(file, std::generic_category().message(errno));
  std::vector<std::byte> bytes;
  std::uint64_t allowed = kChunk;
  while (true) {
    // One byte beyond what is allowed tells "as announced" from "more than announced".
    const std::size_t room = std::min<std::uint64_t>(kChunk, allowed + 1 - bytes.size());
    const std::size_t used = bytes.size();
    bytes.resize(used + room);
    const int got = gzread(stream.get(), bytes.data() + used, static_cast<unsigned>(room));
    bytes.resize(used + static_cast<std::size_t>(std::max(got, 0)));
    int code = Z_OK;
    const char* message = gzerror(stream.get(), &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
      throw Error(ErrorCode::InvalidData,
                  fmt::format("'{}' is not intact gzip data: {}", file.string(), message));
    }
    if (got == 0) return open_memory(std::move(bytes));
    if (used == 0) allowed = limit(bytes);
    if (bytes.size() > allowed) return open_memory(std::move(bytes));
  }
}

std::vector<std::byte> read_file(const std::filesystem::path& file) {
  FileReader reader(file);
  std::vector<std::byte> bytes(reader.size());
  reader.read(0, bytes);
  return bytes;
}

std::string file_hash(const std::filesystem::path& file) {
  FileReader reader(file);
  Sha256 hash;
  std::vector<std::byte> chunk(std::min<std::uint64_t>(kChunk, reader.size()));
  for (std::uint64_t at = 0; at < reader.size(); at += chunk.size()) {
    const std::span part = std::span(chunk).first(std::min<std::uint64_t>(chunk.size(), reader.size() - at));
    reader.read(at, part);
    hash.update(part);
  }
  return hash.hex();
}

}  // namespace ember::data
