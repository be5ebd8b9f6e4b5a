#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

namespace ember::onnx {

/// Part of a file beside the model that holds a tensor's elements.
struct ExternalRegion {
  std::string location;  ///< relative to the model's folder
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;  ///< nullopt: the rest of the file
};

/// Reads tensors' elements from files beside the model. Nothing outside the model's folder is opened.
class ExternalData {
 public:
  /// For what comes from memory and has no folder: every read() is refused.
  ExternalData() = default;
  /// For a model file, whose folder holds the data.
  explicit ExternalData(const std::filesystem::path& model)
      : folder_(model.has_parent_path() ? model.parent_path() : std::filesystem::path(".")) {}

  /// `expected` bytes of a region, shared with earlier readers of the same one. Throws Error
  /// (InvalidModel, Io, ResourceLimit).
  std::shared_ptr<void> read(const ExternalRegion& region, std::uint64_t expected);

 private:
  using Key = std::tuple<std::string, std::uint64_t, std::uint64_t>;
  std::optional<std::filesystem::path> folder_;
  std::map<Key, std::shared_ptr<void>> regions_;
  std::map<std::string, std::uint64_t> bytes_read_;  ///< by file
};

}  // namespace ember::onnx
