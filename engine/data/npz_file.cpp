#include "data/npz_file.hpp"

#include <zip.h>

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember::data {

namespace {

/// A zip entry as bytes. Stored entries are sought; compressed ones are read on, or again from the
/// start, so that sequential reading never holds more than a window.
class EntryReader final : public ByteReader {
 public:
  EntryReader(zip_t* archive, const zip_stat_t& entry, std::string where)
      : archive_(archive), entry_(entry), where_(std::move(where)) {
    reopen();
  }

  [[nodiscard]] std::uint64_t size() const override { return entry_.size; }

  void read(std::uint64_t offset, std::span<std::byte> to) override {
    if (to.empty()) return;
    if (offset != position_) seek(offset);
    while (!to.empty()) {
      const zip_int64_t got = zip_fread(file_.get(), to.data(), to.size());
      if (got < 0) fail(zip_file_strerror(file_.get()));
      if (got == 0) fail("it ends early");
      position_ += static_cast<std::uint64_t>(got);
      to = to.subspan(static_cast<std::size_t>(got));
    }
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(ErrorCode::InvalidData, fmt::format("{} cannot be unpacked: {}", where_, reason));
  }

  void reopen() {
    file_.reset(zip_fopen_index(archive_, entry_.index, 0));
    if (!file_) fail(zip_strerror(archive_));
    position_ = 0;
  }

  void seek(std::uint64_t offset) {
    if (entry_.comp_method == ZIP_CM_STORE) {
      if (zip_fseek(file_.get(), static_cast<zip_int64_t>(offset), SEEK_SET) != 0) {
        fail(zip_file_strerror(file_.get()));
      }
      position_ = offset;
      return;
    }
    if (offset < position_) reopen();
    std::vector<std::byte> skipped(std::min<std::uint64_t>(offset - position_, std::uint64_t{1} << 16));
    while (position_ < offset) {
      read(position_, std::span(skipped).first(std::min<std::uint64_t>(skipped.size(), offset - position_)));
    }
  }

  struct Close {
    void operator()(zip_file_t* file) const noexcept { zip_fclose(file); }
  };
  zip_t* archive_;
  zip_stat_t entry_;
  std::string where_;
  std::unique_ptr<zip_file_t, Close> file_;
  std::uint64_t position_ = 0;
};

}  // namespace

NpzFile::NpzFile(const std::filesystem::path& file) : file_(file) {
  open_file(file);  // for the system's own reason, and nothing but a regular file
  int code = 0;
  zip_t* archive = zip_open(file.c_str(), ZIP_RDONLY, &code);
  if (archive == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw Error(ErrorCode::InvalidData,
                fmt::format("'{}' is not an intact .npz (zip) file: {}", file.string(), reason));
  }
  archive_ = std::shared_ptr<zip>(archive, zip_discard);
  const zip_int64_t count = zip_get_num_entries(archive, 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* raw = zip_get_name(archive, static_cast<zip_uint64_t>(i), 0);
    std::string name = raw == nullptr ? "" : raw;
    if (!name.ends_with(".npy")) continue;
    name.resize(name.size() - 4);
    if (!entries_.emplace(name, static_cast<std::uint64_t>(i)).second) {
      throw Error(ErrorCode::InvalidData,
                  fmt::format("'{}' holds two arrays named '{}'", file.string(), name));
    }
  }
}

std::string NpzFile::listing() const {
  std::string text;
  for (const auto& [name, index] : entries_) text += (text.empty() ? "'" : ", '") + name + "'";
  return text.empty() ? "no arrays" : text;
}

NpzArray NpzFile::open(const std::string& array) const {
  const auto found = entries_.find(array);
  if (found == entries_.end()) {
    throw Error(ErrorCode::InvalidData, fmt::format("'{}' has no array '{}'", file_.string(), array),
                {.cure = "it holds " + listing()});
  }
  const std::string where = fmt::format("array '{}' of '{}'", array, file_.string());
  zip_stat_t entry;
  zip_stat_init(&entry);
  constexpr zip_uint64_t kNeeded = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_INDEX;
  if (zip_stat_index(archive_.get(), found->second, 0, &entry) != 0 || (entry.valid & kNeeded) != kNeeded) {
    throw Error(ErrorCode::InvalidData,
                fmt::format("{} cannot be unpacked: {}", where, zip_strerror(archive_.get())));
  }
  // Deflate cannot do better than 1032 : 1, so more is a lie that would only cost memory.
  if (entry.size / 1032 > entry.comp_size + 64) {
    throw Error(ErrorCode::InvalidData,
                fmt::format("{} claims {} bytes from {} packed ones", where, entry.size, entry.comp_size));
  }
  NpzArray opened;
  opened.bytes = std::make_unique<EntryReader>(archive_.get(), entry, where);
  opened.format = parse_npy_header(*opened.bytes, where);
  return opened;
}

}  // namespace ember::data
