#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace ember::report {

/// An object of a parsed JSON document that knows its place in it: what is missing or of the wrong kind is
/// an Error (InvalidData) such as "layers[2].channels[0].index is not a whole number". Keys that nobody asks
/// for are passed over. Valid as long as the document.
class JsonObject {
 public:
  /// `place` is "" for the document itself. Throws Error unless `value` is an object.
  JsonObject(const nlohmann::json& value, std::string place);

  [[nodiscard]] bool has(const std::string& key) const;
  [[nodiscard]] std::string text(const std::string& key) const;
  [[nodiscard]] std::vector<std::string> texts(const std::string& key) const;
  [[nodiscard]] bool flag(const std::string& key) const;
  [[nodiscard]] std::int64_t integer(const std::string& key) const;
  /// A whole number, 0 or more.
  [[nodiscard]] std::int64_t count(const std::string& key) const;
  [[nodiscard]] std::vector<std::int64_t> counts(const std::string& key) const;
  /// NaN for null, which stands for what JSON cannot hold.
  [[nodiscard]] double number(const std::string& key) const;
  [[nodiscard]] JsonObject object(const std::string& key) const;
  /// Calls `each` with the objects of an array, in order.
  void objects(const std::string& key, const std::function<void(const JsonObject&)>& each) const;

  /// Throws the Error that the value of `key` is not what it must be: "… is not a verdict".
  [[noreturn]] void refuse(const std::string& key, std::string_view why) const;

 private:
  [[nodiscard]] const nlohmann::json& at(const std::string& key) const;
  [[nodiscard]] std::string place_of(const std::string& key) const;

  const nlohmann::json* json_;
  std::string place_;
};

}  // namespace ember::report
