#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "report/json_writer.hpp"

using ember::report::JsonWriter;
using Json = nlohmann::ordered_json;

namespace {

std::string dumped(const Json& json) { return json.dump(1, ' ', false, Json::error_handler_t::replace); }

std::string written(const Json& json) {
  JsonWriter out;
  out.value(json);
  return std::move(out).take();
}

}  // namespace

TEST_CASE("a document reads as the library would write it") {
  const Json json = {{"empty", Json::object()},
                     {"none", Json::array()},
                     {"list", {1, 2.5, "three", nullptr, true, Json::array({Json::array()})}},
                     {"object", {{"inner", {{"deep", -1}}}, {"quoted", "a \"b\"\\\n\tc"}}},
                     {"accented", "é 😀"},
                     {"broken", "a\xff\xc3z"}};
  CHECK(written(json) == dumped(json));
  CHECK(written(Json::object()) == "{}");
  CHECK(written(Json::array()) == "[]");
}

TEST_CASE("members are written one by one") {
  JsonWriter out;
  out.begin_object();
  out.member("flag", false);
  out.member("count", 3);
  out.member("text", "x");
  out.key("missing");
  out.null();
  out.members(Json{{"a", 1}, {"b", {1, 2}}});
  out.key("list");
  out.begin_array();
  out.value(0.5);
  out.begin_object();
  out.end_object();
  out.end_array();
  out.end_object();
  const Json json = {{"flag", false},
                     {"count", 3},
                     {"text", "x"},
                     {"missing", nullptr},
                     {"a", 1},
                     {"b", {1, 2}},
                     {"list", {0.5, Json::object()}}};
  CHECK(std::move(out).take() == dumped(json));
}

TEST_CASE("numbers have the library's digits") {
  std::mt19937_64 random(1);
  const auto check = [](double number) {
    JsonWriter out;
    out.value(number);
    CHECK(std::move(out).take() == Json(number).dump());
  };
  for (const double number :
       {0.0, -0.0, 1.0, 0.1, 1e21, 1e-7, 123456789012345680.0, 5e-324, std::numeric_limits<double>::max(),
        std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()})
    check(number);
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t bits = random();
    double number = 0;
    std::memcpy(&number, &bits, sizeof number);
    check(number);
  }
}
