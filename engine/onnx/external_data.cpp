#include "onnx/external_data.hpp"

#include <algorithm>
#include <fstream>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "core/aligned_memory.hpp"

namespace ember::onnx {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(ErrorCode code, const std::string& location, const std::string& reason) {
  throw Error(code, fmt::format("external data file '{}' {}", location, reason));
}

/// The file a location stands for, symbolic links followed, which must lie in the model's folder.
fs::path resolve(const fs::path& folder, const std::string& location) {
  const fs::path relative(location);
  if (location.empty() || location.find('\0') != std::string::npos) {
    refuse(ErrorCode::InvalidModel, location, "has no usable name");
  }
  if (relative.is_absolute()) refuse(ErrorCode::InvalidModel, location, "has an absolute path");
  if (std::ranges::find(relative, fs::path("..")) != relative.end()) {
    refuse(ErrorCode::InvalidModel, location, "leaves the model's folder by '..'");
  }
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  if (error) refuse(ErrorCode::Io, location, "cannot be found: " + error.message());
  fs::path file = fs::canonical(root / relative, error);
  if (error) refuse(ErrorCode::Io, location, "cannot be opened: " + error.message());
  const auto [end_of_root, unused] = std::mismatch(root.begin(), root.end(), file.begin(), file.end());
  if (end_of_root != root.end()) {
    refuse(ErrorCode::InvalidModel, location, "leaves the model's folder by a symbolic link");
  }
  if (!fs::is_regular_file(file, error)) refuse(ErrorCode::Io, location, "is not a regular file");
  return file;
}

}  // namespace

std::shared_ptr<void> ExternalData::read(const ExternalRegion& region, std::uint64_t expected) {
  if (!folder_.has_value()) {
    refuse(ErrorCode::InvalidModel, region.location, "cannot be read for a model that comes from memory");
  }
  const fs::path file = resolve(*folder_, region.location);
  std::error_code error;
  const std::uint64_t size = fs::file_size(file, error);
  if (error) refuse(ErrorCode::Io, region.location, "cannot be read: " + error.message());
  if (region.offset > size) {
    refuse(ErrorCode::InvalidModel, region.location,
           fmt::format("has {} bytes, and the tensor starts at {}", size, region.offset));
  }
  const std::uint64_t length = region.length.value_or(size - region.offset);
  if (length > size - region.offset || length != expected) {
    refuse(
        ErrorCode::InvalidModel, region.location,
        fmt::format("gives {} of the tensor's {} bytes", std::min(length, size - region.offset), expected));
  }
  auto& shared = regions_[{file.string(), region.offset, length}];
  if (shared != nullptr) return shared;
  // Overlapping regions would let a small file claim any amount of memory.
  std::uint64_t& total = bytes_read_[file.string()];
  if (length > size - total) {
    refuse(ErrorCode::InvalidModel, region.location, "is claimed by tensors that overlap");
  }
  total += length;
  std::shared_ptr<void> memory = allocate_aligned(static_cast<std::size_t>(length));
  std::ifstream stream(file, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(region.offset));
  if (!stream.read(static_cast<char*>(memory.get()), static_cast<std::streamsize>(length))) {
    refuse(ErrorCode::Io, region.location, "cannot be read whole");
  }
  shared = std::move(memory);
  return shared;
}

}  // namespace ember::onnx
