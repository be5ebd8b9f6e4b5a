#include "report/text_layout.hpp"

#include <algorithm>
#include <cmath>

namespace ember::report {

namespace {

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }

/// The bytes of columns [first, last).
std::string_view slice(std::string_view text, std::size_t first, std::size_t last) {
  std::size_t column = 0;
  std::size_t begin = text.size();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!starts_character(text[i])) continue;
    if (column == first) begin = std::min(begin, i);
    if (column == last) return text.substr(begin, i - begin);
    ++column;
  }
  return text.substr(begin);
}

}  // namespace

std::size_t columns(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("\x1b[")) i = std::min(text.find('m', i), text.size());
    else if (starts_character(text[i])) ++count;
  }
  return count;
}

std::string fitted(std::string_view text, std::size_t width) {
  std::string result(text);
  std::ranges::replace_if(
      result, [](char c) { return static_cast<unsigned char>(c) < 0x20U || c == 0x7F; }, '?');
  const std::size_t length = columns(result);
  if (length <= width) return result + std::string(width - length, ' ');
  const std::size_t head = (width - 1) / 2;
  const std::size_t tail = width - 1 - head;
  return fmt::format("{}…{}", slice(result, 0, head), slice(result, length - tail, length));
}

std::string repeated(std::string_view text, std::int64_t times) {
  std::string result;
  for (std::int64_t i = 0; i < times; ++i) result += text;
  return result;
}

std::string grouped(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::ptrdiff_t first = value < 0 ? 1 : 0;
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > first; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

std::string percent(double share) {
  // Two digits would turn 99.6 into 1e+02.
  return share < 0.995 ? fmt::format("{:.2g}%", 100.0 * share) : fmt::format("{:.4g}%", 100.0 * share);
}

std::string ranges(const std::vector<std::int64_t>& indices, std::size_t width) {
  std::string text;
  std::size_t at = 0;
  while (at < indices.size()) {
    std::size_t end = at + 1;
    while (end < indices.size() && indices[end] == indices[end - 1] + 1) ++end;
    if (text.size() + 24 > width) return fmt::format("{} and {} more", text, indices.size() - at);
    text += at == 0 ? "" : ", ";
    text += end - at == 1 ? fmt::format("{}", indices[at])
                          : fmt::format("{}{}{}", indices[at], end - at == 2 ? ", " : "-", indices[end - 1]);
    at = end;
  }
  return text;
}

std::string Page::paint(std::string_view color, std::string_view text) const {
  return color_ ? fmt::format("{}{}\x1b[0m", color, text) : std::string(text);
}

void Page::paragraph(std::size_t indent, std::string_view text) {
  text_.append(indent, ' ');
  wrap(indent, indent, text);
}

void Page::item(std::string_view mark, std::size_t mark_width, std::string_view text) {
  text_ += mark;
  text_ += ' ';
  wrap(mark_width + 1, mark_width + 1, text);
}

void Page::wrap(std::size_t indent, std::size_t column, std::string_view text) {
  const auto width = static_cast<std::size_t>(std::max(40, width_));
  bool line_empty = true;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t length = columns(word);
    if (!line_empty && column + 1 + length > width) {
      text_ += '\n';
      text_.append(indent, ' ');
      column = indent;
      line_empty = true;
    }
    if (!line_empty) text_ += ' ';
    text_ += word;
    column += length + (line_empty ? 0 : 1);
    line_empty = false;
  }
  text_ += '\n';
}

}  // namespace ember::report
