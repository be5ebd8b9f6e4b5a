#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace ember::report {

// Terminal colours (ECMA-48).
inline constexpr std::string_view kBold = "\x1b[1m";
inline constexpr std::string_view kRed = "\x1b[31m";
inline constexpr std::string_view kGreen = "\x1b[32m";
inline constexpr std::string_view kYellow = "\x1b[33m";
inline constexpr std::string_view kCyan = "\x1b[36m";

/// Columns that UTF-8 text takes, one per code point; changes of colour take none.
std::size_t columns(std::string_view text);
/// Exactly `width` columns: padded, or with its middle replaced by an ellipsis. Control characters become
/// '?'.
std::string fitted(std::string_view text, std::size_t width);
std::string repeated(std::string_view text, std::int64_t times);
/// "1,234,567".
std::string grouped(std::int64_t value);
/// A share as per cent, two significant digits.
std::string percent(double share);
/// Ascending indices as "0-3, 7, 9-12", cut with "and N more" near `width` columns.
std::string ranges(const std::vector<std::int64_t>& indices, std::size_t width);

/// Text of a given width, built line by line.
class Page {
 public:
  Page(int width, bool color) : width_(width), color_(color) {}

  [[nodiscard]] int width() const noexcept { return width_; }
  [[nodiscard]] std::string paint(std::string_view color, std::string_view text) const;
  template <class... Arguments>
  void line(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    text_ += fmt::format(format, std::forward<Arguments>(arguments)...);
    text_ += '\n';
  }
  /// Words wrapped at the width, every line indented.
  void paragraph(std::size_t indent, std::string_view text);
  /// A mark of `mark_width` columns, then words that wrap to the right of it.
  void item(std::string_view mark, std::size_t mark_width, std::string_view text);
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void wrap(std::size_t indent, std::size_t column, std::string_view text);

  int width_;
  bool color_;
  std::string text_;
};

}  // namespace ember::report
