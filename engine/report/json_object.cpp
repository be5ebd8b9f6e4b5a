#include "report/json_object.hpp"

#include <limits>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <ember/error.hpp>

namespace ember::report {

using nlohmann::json;

JsonObject::JsonObject(const json& value, std::string place) : json_(&value), place_(std::move(place)) {
  if (value.is_object()) return;
  throw Error(ErrorCode::InvalidData,
              fmt::format("{} is not a JSON object", place_.empty() ? "the document" : place_));
}

std::string JsonObject::place_of(const std::string& key) const {
  return place_.empty() ? key : fmt::format("{}.{}", place_, key);
}

void JsonObject::refuse(const std::string& key, std::string_view why) const {
  throw Error(ErrorCode::InvalidData, fmt::format("{} {}", place_of(key), why));
}

bool JsonObject::has(const std::string& key) const { return json_->contains(key); }

const json& JsonObject::at(const std::string& key) const {
  const auto found = json_->find(key);
  if (found == json_->end()) refuse(key, "is missing");
  return *found;
}

std::string JsonObject::text(const std::string& key) const {
  const json& value = at(key);
  if (!value.is_string()) refuse(key, "is not a text");
  return value.get<std::string>();
}

std::vector<std::string> JsonObject::texts(const std::string& key) const {
  const json& value = at(key);
  if (!value.is_array()) refuse(key, "is not a list");
  std::vector<std::string> texts;
  for (const json& element : value) {
    if (!element.is_string()) refuse(fmt::format("{}[{}]", key, texts.size()), "is not a text");
    texts.push_back(element.get<std::string>());
  }
  return texts;
}

bool JsonObject::flag(const std::string& key) const {
  const json& value = at(key);
  if (!value.is_boolean()) refuse(key, "is neither true nor false");
  return value.get<bool>();
}

namespace {

bool is_integer(const json& value) {
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return value.is_number_integer() && !(value.is_number_unsigned() && value.get<std::uint64_t>() > kMost);
}

}  // namespace

std::int64_t JsonObject::integer(const std::string& key) const {
  const json& value = at(key);
  if (!is_integer(value)) refuse(key, "is not a whole number");
  return value.get<std::int64_t>();
}

std::int64_t JsonObject::count(const std::string& key) const {
  const std::int64_t value = integer(key);
  if (value < 0) refuse(key, "is negative");
  return value;
}

std::vector<std::int64_t> JsonObject::counts(const std::string& key) const {
  const json& value = at(key);
  if (!value.is_array()) refuse(key, "is not a list");
  std::vector<std::int64_t> counts;
  for (const json& element : value) {
    const std::string place = fmt::format("{}[{}]", key, counts.size());
    if (!is_integer(element)) refuse(place, "is not a whole number");
    counts.push_back(element.get<std::int64_t>());
    if (counts.back() < 0) refuse(place, "is negative");
  }
  return counts;
}

double JsonObject::number(const std::string& key) const {
  const json& value = at(key);
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!value.is_number()) refuse(key, "is not a number");
  return value.get<double>();
}

JsonObject JsonObject::object(const std::string& key) const { return {at(key), place_of(key)}; }

void JsonObject::objects(const std::string& key, const std::function<void(const JsonObject&)>& each) const {
  const json& value = at(key);
  if (!value.is_array()) refuse(key, "is not a list");
  for (std::size_t i = 0; i < value.size(); ++i) {
    each(JsonObject(value[i], fmt::format("{}[{}]", place_of(key), i)));
  }
}

}  // namespace ember::report
