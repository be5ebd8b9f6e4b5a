#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "data/array_format.hpp"

struct zip;

namespace ember::data {

/// One array of an open .npz, read by range.
struct NpzArray {
  std::unique_ptr<ByteReader> bytes;
  ArrayFormat format;
};

/// The arrays of an .npz (a zip of .npy files). Keeps the file open; its arrays must not outlive it.
class NpzFile {
 public:
  /// Throws Error.
  explicit NpzFile(const std::filesystem::path& file);

  [[nodiscard]] bool has(const std::string& array) const { return entries_.contains(array); }
  /// "'x', 'y'", for messages.
  [[nodiscard]] std::string listing() const;
  [[nodiscard]] std::map<std::string, std::uint64_t>::const_iterator begin() const {
    return entries_.begin();
  }
  [[nodiscard]] std::map<std::string, std::uint64_t>::const_iterator end() const { return entries_.end(); }

  /// Throws Error; also when there is no such array.
  [[nodiscard]] NpzArray open(const std::string& array) const;

 private:
  std::filesystem::path file_;
  std::shared_ptr<zip> archive_;
  std::map<std::string, std::uint64_t> entries_;  ///< array name → index in the archive
};

}  // namespace ember::data
