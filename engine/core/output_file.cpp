#include "core/output_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember {

namespace fs = std::filesystem;

OutputFile::OutputFile(const fs::path& file) : name_(file.string()) {
  if (name_.empty()) throw Error(ErrorCode::InvalidArgument, "the output file has no name");
  std::error_code ignored;
  target_ = fs::weakly_canonical(file, ignored);
  if (target_.empty()) target_ = file;
  const fs::file_status status = fs::status(target_, ignored);
  if (fs::is_directory(status)) fail("write", EISDIR);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    descriptor_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail("write", errno);
    return;
  }
  open_temporary(target_);
}

namespace {

constexpr int kAttempts = 1000;  ///< at a name that nobody has yet

}  // namespace

fs::path OutputFile::temporary_name(int attempt) const {
  return target_.parent_path() /
         fmt::format(".{}.{}.{}.partial", target_.filename().string(), ::getpid(), attempt);
}

void OutputFile::open_temporary(const fs::path& target) {
#ifdef O_TMPFILE
  const fs::path folder = target.parent_path().empty() ? fs::path(".") : target.parent_path();
  // Without /proc the file could not be named afterwards.
  if (::access("/proc/self/fd", X_OK) == 0)
    descriptor_ = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  unnamed_ = descriptor_ >= 0;
#endif
  // O_EXCL makes a taken name an error, so that the number needs no luck, only attempts.
  for (int attempt = 0; attempt < kAttempts && descriptor_ < 0; ++attempt) {
    temporary_ = temporary_name(attempt);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) break;
  }
  if (descriptor_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail("create", error);
  }
  struct stat present{};
  if (::stat(target.c_str(), &present) == 0 && ::fchmod(descriptor_, present.st_mode & 07777U) != 0) {
    const int error = errno;
    discard();
    fail("set the permissions of", error);
  }
}

OutputFile::~OutputFile() { discard(); }

void OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      discard();
      fail("write", error);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

/// A link cannot replace a file, a rename can: the file has another name for a moment.
void OutputFile::give_name() {
  const std::string link = fmt::format("/proc/self/fd/{}", descriptor_);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    temporary_ = temporary_name(attempt);
    if (::linkat(AT_FDCWD, link.c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) == 0) return;
    if (errno != EEXIST) break;
  }
  const int error = errno;
  temporary_.clear();
  discard();
  fail("create", error);
}

void OutputFile::commit() {
  if ((unnamed_ || !temporary_.empty()) && ::fsync(descriptor_) != 0) {
    const int error = errno;
    discard();
    fail("write", error);
  }
  if (unnamed_) give_name();
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (::close(descriptor) != 0 && errno != EINTR) {
    const int error = errno;
    discard();
    fail("write", error);
  }
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const int error = errno;
    discard();
    fail("create", error);
  }
  temporary_.clear();
}

void OutputFile::discard() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

void OutputFile::fail(const char* doing, int error) const {
  ErrorContext context;
  if (error == ENOSPC || error == EDQUOT) context.cure = "free some space or choose another folder";
  else if (error == ENOENT) context.cure = "create the folder first";
  throw Error(ErrorCode::Io,
              fmt::format("cannot {} '{}': {}", doing, name_, std::generic_category().message(error)),
              std::move(context));
}

void write_file(const fs::path& file, std::span<const std::byte> bytes) {
  OutputFile output(file);
  output.write(bytes);
  output.commit();
}

void write_files(std::span<const FileContent> files) {
  std::vector<std::unique_ptr<OutputFile>> outputs;
  for (const FileContent& content : files)
    outputs.emplace_back(std::make_unique<OutputFile>(content.file))->write(content.bytes);
  for (const auto& output : outputs) output->commit();
}

void write_file(const fs::path& file, std::string_view text) {
  write_file(file, std::as_bytes(std::span(text)));
}

}  // namespace ember
