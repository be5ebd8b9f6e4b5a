#include <cstdint>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/audit.hpp>
#include <ember/report.hpp>

#include "report/text_layout.hpp"
#include "sample_report.hpp"

using namespace ember;
using namespace ember::test;

TEST_CASE("the JSON report has the keys of its schema") {
  const auto json = nlohmann::json::parse(to_json(sample_report()));
  CHECK(json["schema"] == "ember-audit-1");
  CHECK(json["model"] == "net.onnx");
  CHECK(json["data"] == "calibration.npz");
  CHECK(json["samples"] == 200);
  CHECK(json["summary"]["channels"] == 8);
  CHECK(json["summary"]["silent"] == 3);
  CHECK(json["summary"]["always_on"] == 1);
  CHECK(json["summary"]["healthy"] == 4);
  for (const char* key : {"rare", "dormant", "constant", "saturated"}) CHECK(json["summary"][key] == 0);
  REQUIRE(json["layers"].size() == 2);
  const auto& layer = json["layers"][1];  // the model's order, not the text's
  CHECK(layer["node"] == "relu_2");
  CHECK(layer["op"] == "Relu");
  CHECK(layer["value"] == "b");
  CHECK(layer["pattern"].size() == 2);
  CHECK(layer["summary"]["silent"] == 3);
  CHECK(layer["channels"][2]["index"] == 2);
  CHECK(layer["channels"][2]["verdict"] == "silent");
  CHECK(layer["channels"][2]["samples_fired"] == 0);
  CHECK(layer["channels"][2]["rate_bound"] == doctest::Approx(0.0273));
  CHECK(layer["channels"][2]["pre"]["min"] == -1.5);
  CHECK_FALSE(layer["channels"][3].contains("rate_bound"));
  CHECK_FALSE(json["layers"][0].contains("pattern"));
}

TEST_CASE("the JSON report stays valid with names and numbers JSON does not have") {
  AuditReport report = sample_report();
  report.layer_reports[0].node = "bad \xff name \"quoted\"\n";
  report.layer_reports[0].channels[0].statistics.pre_sum_squares = 1e308 * 10;
  const auto json = nlohmann::json::parse(to_json(report));
  CHECK(json["layers"][0]["channels"][0]["pre"]["sum_squares"].is_null());
}

TEST_CASE("the text shows the summary, the worst layer first, the meaning of silence, and the notes") {
  const std::string text = to_text(sample_report());
  CHECK(contains(text, "8 channels in 2 layers: 3 silent, 1 always_on, 4 healthy"));
  REQUIRE(contains(text, "relu_1"));
  CHECK(text.find("relu_2") < text.find("relu_1"));
  CHECK(contains(text, "silent: 0-2"));
  CHECK(contains(text, "fired in 0 of 200 samples"));
  CHECK(contains(text, "2.7%"));
  CHECK(contains(text, "with 95%"));
  CHECK(contains(text, "Not proved dead"));
  CHECK(contains(text, "What to do next"));
  CHECK(contains(text, "LSTM: gates"));
  CHECK_FALSE(contains(text, "\x1b["));
  CHECK_FALSE(contains(text, "More than half of the first layer"));
}

TEST_CASE("the text keeps to its width, and colours only on request") {
  AuditReport report = sample_report();
  LayerReport& layer = report.layer_reports[0];
  layer.node = "/a/name/that/goes/on/for/longer/than/any/column/of/a/terminal/should/Relu";
  for (std::int64_t c = 0; c < 7000; ++c) {
    layer.channels.push_back(sample_channel(c + 2, static_cast<Verdict>(c % 9)));
  }
  for (const int width : {60, 80, 140}) {
    for (const bool color : {false, true}) {
      std::string text = to_text(report, {.width = width, .color = color});
      while (!text.empty()) {
        const std::size_t end = text.find('\n');
        CHECK_MESSAGE(report::columns(text.substr(0, end)) <= static_cast<std::size_t>(width),
                      text.substr(0, end));
        text.erase(0, end + 1);
      }
    }
  }
  CHECK(contains(to_text(sample_report(), {.color = true}), "\x1b[31m"));
  CHECK(report::columns("\x1b[1mä b\x1b[0m") == 3);
}

TEST_CASE("a layer that is wholly silent, and a silent first layer, are called what they are") {
  AuditReport report = sample_report();
  report.findings = {{.kind = Finding::Kind::DeadNetwork, .node = "relu_1", .samples = 64},
                     {.kind = Finding::Kind::DeadLayer, .node = "relu_1", .channels = 2, .samples = 200},
                     {.kind = Finding::Kind::Preprocessing, .node = "relu_1", .channels = 2, .samples = 200}};
  const std::string text = to_text(report, {.width = 400});
  CHECK(contains(text, "network is dead"));
  CHECK(contains(text, "Every path runs through relu_1"));
  CHECK(contains(text, "Dead layer relu_1"));
  CHECK(contains(text, "preprocessed as in training"));
  CHECK(text.find("Dead layer") < text.find("█"));
  CHECK(to_json(report_from_json(to_json(report))) == to_json(report));
}

TEST_CASE("a report without findings suggests nothing") {
  AuditReport report = sample_report();
  report.layer_reports.pop_back();
  report.layer_reports[0].channels.pop_back();
  const std::string text = to_text(report);
  CHECK(contains(text, "1 channel in 1 layer: 1 healthy"));
  CHECK_FALSE(contains(text, "What to do next"));
  report.layer_reports.clear();
  CHECK(contains(to_text(report), "0 channels in 0 layers"));
}

TEST_CASE("lists of indices are compact and cut at the width") {
  CHECK(report::ranges({0, 1, 2, 5, 7, 8}, 80) == "0-2, 5, 7, 8");
  std::vector<std::int64_t> odd;
  for (std::int64_t i = 1; i < 400; i += 2) odd.push_back(i);
  const std::string cut = report::ranges(odd, 60);
  CHECK(cut.size() <= 60);
  CHECK(contains(cut, "more"));
  CHECK(report::grouped(1234567) == "1,234,567");
  CHECK(report::grouped(-999) == "-999");
  CHECK(report::grouped(0) == "0");
  CHECK(report::fitted("abcdefghij", 5) == "ab…ij");
  CHECK(report::fitted("äb\n", 5) == "äb?  ");
}
