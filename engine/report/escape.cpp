#include "report/escape.hpp"

#include <cstddef>
#include <cstdint>

namespace ember::report {

namespace {

/// One decoded UTF-8 sequence; length 0 when the bytes are none.
struct Character {
  std::uint32_t code = 0;
  std::size_t length = 0;
};

Character decode(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i]));
  };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return {};
  std::uint32_t code = lead & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {};
    code = code << 6U | (byte(i) & 0x3FU);
  }
  const bool overlong = code < (length == 2 ? 0x80U : length == 3 ? 0x800U : 0x10000U);
  return overlong ? Character{} : Character{code, length};
}

bool is_xml_character(std::uint32_t code) {
  return code == 0x9 || code == 0xA || code == 0xD || (code >= 0x20 && code <= 0xD7FF) ||
         (code >= 0xE000 && code <= 0xFFFD) || (code >= 0x10000 && code <= 0x10FFFF);
}

}  // namespace

std::string escaped_markup(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const Character character = decode(text);
    const std::size_t length = character.length == 0 ? 1 : character.length;
    if (character.length == 0 || !is_xml_character(character.code)) result += "\xEF\xBF\xBD";
    else if (character.code == '&') result += "&amp;";
    else if (character.code == '<') result += "&lt;";
    else if (character.code == '>') result += "&gt;";
    else if (character.code == '"') result += "&quot;";
    else if (character.code == '\'') result += "&#39;";
    // An attribute would turn line breaks and tabs into spaces.
    else if (character.code == '\n' || character.code == '\r' || character.code == '\t')
      result += "&#" + std::to_string(character.code) + ";";
    else result += text.substr(0, length);
    text.remove_prefix(length);
  }
  return result;
}

}  // namespace ember::report
