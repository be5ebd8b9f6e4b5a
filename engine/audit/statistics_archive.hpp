#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace ember::auditing {

/// Turns fields into bytes, lowest byte first, so that a file means the same on every machine.
class ArchiveWriter {
 public:
  template <std::integral T>
  void operator()(T& value) {
    const auto bits = static_cast<std::uint64_t>(value);
    for (unsigned i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<std::byte>(bits >> (8 * i)));
  }
  void operator()(double& value) {
    auto bits = std::bit_cast<std::uint64_t>(value);
    (*this)(bits);
  }
  void operator()(float& value) {
    auto bits = std::bit_cast<std::uint32_t>(value);
    (*this)(bits);
  }
  void operator()(std::string& text) {
    size(text);
    const auto bytes = std::as_bytes(std::span(text));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  /// A sequence, whose elements `each` writes.
  template <class T, class Each>
  void list(std::vector<T>& values, std::size_t /*least*/, Each&& each) {
    size(values);
    for (T& value : values) each(value);
  }

  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  template <class Sequence>
  void size(const Sequence& sequence) {
    auto count = static_cast<std::uint64_t>(sequence.size());
    (*this)(count);
  }

  std::vector<std::byte> bytes_;
};

/// The way back. Never reads beyond the bytes nor allocates more than they can fill; see ok().
class ArchiveReader {
 public:
  explicit ArchiveReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <std::integral T>
  void operator()(T& value) {
    std::uint64_t bits = 0;
    const std::span<const std::byte> from = next(sizeof(T));
    for (unsigned i = 0; i < from.size(); ++i) bits |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
    value = static_cast<T>(bits);
  }
  void operator()(double& value) {
    std::uint64_t bits = 0;
    (*this)(bits);
    value = std::bit_cast<double>(bits);
  }
  void operator()(float& value) {
    std::uint32_t bits = 0;
    (*this)(bits);
    value = std::bit_cast<float>(bits);
  }
  void operator()(std::string& text) {
    const std::span<const std::byte> from = next(size(1));
    text.resize(from.size());
    if (!from.empty()) std::memcpy(text.data(), from.data(), from.size());
  }
  /// An element takes `least` bytes at least, which bounds how many there can be.
  template <class T, class Each>
  void list(std::vector<T>& values, std::size_t least, Each&& each) {
    values.resize(size(least));
    for (T& value : values) each(value);
  }

  /// Everything asked for was there, and nothing is left.
  [[nodiscard]] bool complete() const { return !failed_ && bytes_.empty(); }

 private:
  std::span<const std::byte> next(std::uint64_t count) {
    if (count > bytes_.size()) {
      failed_ = true;
      bytes_ = {};
      return {};
    }
    const auto part = bytes_.first(static_cast<std::size_t>(count));
    bytes_ = bytes_.subspan(static_cast<std::size_t>(count));
    return part;
  }
  std::size_t size(std::size_t least) {
    std::uint64_t count = 0;
    (*this)(count);
    if (count <= bytes_.size() / least) return static_cast<std::size_t>(count);
    failed_ = true;
    bytes_ = {};
    return 0;
  }

  std::span<const std::byte> bytes_;
  bool failed_ = false;
};

}  // namespace ember::auditing
