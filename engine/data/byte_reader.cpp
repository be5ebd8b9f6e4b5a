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

/// Expands a gzip file as it is read. Going back starts again, so sequential reading holds a window only.
class GzipReader final : public ByteReader {
 public:
  GzipReader(const std::filesystem::path& file, std::uint64_t (*limit)(std::span<const std::byte> head))
      : file_(file), stream_(gzopen(file.c_str(), "rbe"), gzclose) {
    if (!stream_) fail(file, std::generic_category().message(errno));
    measure(limit);
    if (gzrewind(stream_.get()) != 0) refuse();
  }

  [[nodiscard]] std::uint64_t size() const override { return size_; }

  void read(std::uint64_t offset, std::span<std::byte> to) override {
    if (to.empty()) return;
    if (offset > size_ || to.size() > size_ - offset) {
      throw Error(ErrorCode::InvalidData, fmt::format("'{}' ends early", file_.string()));
    }
    const auto wanted = static_cast<z_off_t>(offset);
    if (gztell(stream_.get()) != wanted && gzseek(stream_.get(), wanted, SEEK_SET) != wanted) refuse();
    while (!to.empty()) {
      const std::size_t got = next(to);
      if (got == 0) refuse();
      to = to.subspan(got);
    }
  }

 private:
  /// Runs through the file once: only its end shows how much it holds, and that it is intact.
  void measure(std::uint64_t (*limit)(std::span<const std::byte> head)) {
    std::vector<std::byte> chunk(kChunk);
    std::uint64_t allowed = kChunk;
    // One byte beyond what is allowed tells "as announced" from "more than announced".
    while (size_ <= allowed) {
      const auto room = std::span(chunk).first(std::min<std::uint64_t>(kChunk, allowed + 1 - size_));
      const std::size_t got = next(room);
      if (got == 0) return;
      if (size_ == 0) allowed = limit(room.first(got));
      size_ += got;
    }
  }

  std::size_t next(std::span<std::byte> to) {
    const auto most = static_cast<unsigned>(std::min(kChunk, to.size()));
    const int got = gzread(stream_.get(), to.data(), most);
    int code = Z_OK;
    gzerror(stream_.get(), &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) refuse();
    return static_cast<std::size_t>(got);
  }

  [[noreturn]] void refuse() const {
    int code = Z_OK;
    const char* message = gzerror(stream_.get(), &code);
    throw Error(ErrorCode::InvalidData,
                fmt::format("'{}' is not intact gzip data: {}", file_.string(), message));
  }

  std::filesystem::path file_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> stream_;
  std::uint64_t size_ = 0;
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
  return std::make_unique<GzipReader>(file, limit);
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
