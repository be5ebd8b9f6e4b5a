#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace ember::report {

/// Writes a JSON document piece by piece, as nlohmann's dump(1) would write the whole: a report has a million
/// values, which cost more to collect than to write.
class JsonWriter {
 public:
  /// Room for a document of about `bytes` bytes.
  void reserve(std::size_t bytes) { text_.reserve(bytes); }
  /// Between begin and end of an object each value needs its key(); in an array it has none.
  void begin_object() { begin('{'); }
  void end_object() { end('}'); }
  void begin_array() { begin('['); }
  void end_array() { end(']'); }
  /// `name` is written as it is: nothing in it needs escaping.
  void key(std::string_view name);

  void value(std::integral auto number) { integer(static_cast<std::int64_t>(number)); }
  void value(bool flag) { put(flag ? "true" : "false"); }
  /// JSON has no NaN and no infinity: null.
  void value(double number);
  /// What is not UTF-8 is shown as a replacement character.
  void value(std::string_view text);
  void value(const char* text) { value(std::string_view(text)); }
  void value(const std::string& text) { value(std::string_view(text)); }
  void null() { put("null"); }
  void value(const nlohmann::ordered_json& json);

  template <class T>
  void member(std::string_view name, const T& content) {
    key(name);
    value(content);
  }
  /// All members of an object, into the one that is open.
  void members(const nlohmann::ordered_json& object);

  [[nodiscard]] std::string take() && { return std::move(text_); }

 private:
  void begin(char bracket);
  void end(char bracket);
  void integer(std::int64_t number);
  void put(std::string_view token);
  void line();
  /// What comes before a key, and before a value that has none.
  void separate();

  std::string text_;
  std::vector<bool> has_members_;  ///< by open object and array
  bool after_key_ = false;
};

}  // namespace ember::report
