#include "report/json_writer.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ember::report {

using Json = nlohmann::ordered_json;

void JsonWriter::line() {
  text_ += '\n';
  text_.append(has_members_.size(), ' ');
}

void JsonWriter::separate() {
  if (after_key_ || has_members_.empty()) {
    after_key_ = false;
    return;
  }
  if (has_members_.back()) text_ += ',';
  has_members_.back() = true;
  line();
}

void JsonWriter::begin(char bracket) {
  separate();
  text_ += bracket;
  has_members_.push_back(false);
}

void JsonWriter::end(char bracket) {
  const bool any = has_members_.back();
  has_members_.pop_back();
  if (any) line();
  text_ += bracket;
}

void JsonWriter::key(std::string_view name) {
  separate();
  text_ += '"';
  text_ += name;
  text_ += "\": ";
  after_key_ = true;
}

void JsonWriter::put(std::string_view token) {
  separate();
  text_ += token;
}

void JsonWriter::integer(std::int64_t number) {
  const fmt::format_int digits(number);
  put({digits.data(), digits.size()});
}

void JsonWriter::value(double number) {
  if (!std::isfinite(number)) return null();
  std::array<char, 64> digits;
  // The library's own digits: what reads reports, or compares them, sees no difference.
  const char* end = nlohmann::detail::to_chars(digits.data(), digits.data() + digits.size(), number);
  put({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

void JsonWriter::value(std::string_view text) {
  const bool plain =
      std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
  if (!plain) return put(Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace));
  separate();
  text_ += '"';
  text_ += text;
  text_ += '"';
}

void JsonWriter::value(const Json& json) {
  if (json.is_object()) {
    begin_object();
    members(json);
    end_object();
  } else if (json.is_array()) {
    begin_array();
    for (const Json& element : json) value(element);
    end_array();
  } else if (json.is_string()) {
    value(json.get_ref<const std::string&>());
  } else {
    put(json.dump());
  }
}

void JsonWriter::members(const Json& object) {
  for (const auto& [name, content] : object.items()) member(name, content);
}

}  // namespace ember::report
