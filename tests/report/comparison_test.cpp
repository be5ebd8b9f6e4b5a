#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/compare.hpp>

#include "report/text_layout.hpp"
#include "sample_report.hpp"

using namespace ember;
using namespace ember::test;

namespace {

/// The sample report, and one where channels 3 to 5 of relu_2 died, 0 recovered, and a layer came.
AuditComparison sample_comparison() {
  AuditReport after = sample_report();
  LayerReport& layer = after.layer_reports[1];
  layer.channels[0].verdict = Verdict::Healthy;
  for (std::size_t c : {3, 4, 5}) layer.channels[c].verdict = Verdict::Silent;
  after.layer_reports.push_back({.node = "relu_3", .op = "Relu", .value = "c"});
  after.layer_reports[2].channels = {sample_channel(0, Verdict::Rare)};
  after.model = "after.onnx";
  after.samples = 300;
  return compare(sample_report(), after);
}

}  // namespace

TEST_CASE("the text of a comparison names every change and shows both audits") {
  const std::string text = to_text(sample_comparison());
  CHECK(contains(text, "net.onnx"));
  CHECK(contains(text, "after.onnx"));
  CHECK(contains(text, "4 newly unhealthy, 1 recovered"));
  CHECK(contains(text, "healthy → silent: 3-5"));
  CHECK(contains(text, "silent → healthy: 0"));
  CHECK(contains(text, "Layers added"));
  CHECK(contains(text, "relu_3 (1 Relu, 1 unhealthy)"));
  CHECK(contains(text, "200 samples before, 300 after"));
  CHECK_FALSE(contains(text, "relu_1"));  // nothing changed there
  CHECK_FALSE(contains(text, "\x1b["));
  CHECK(contains(to_text(sample_comparison(), {.color = true}), "\x1b[31m"));
  CHECK(
      contains(to_text(compare(sample_report(), sample_report())), "Every channel has the verdict it had."));
}

TEST_CASE("the text of a comparison keeps to its width") {
  for (const int width : {60, 80, 140}) {
    std::string text = to_text(sample_comparison(), {.width = width});
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      CHECK(report::columns(text.substr(0, end)) <= static_cast<std::size_t>(width));
      text.erase(0, end + 1);
    }
  }
}

TEST_CASE("the JSON of a comparison lists every change") {
  const auto json = nlohmann::json::parse(to_json(sample_comparison()));
  CHECK(json["schema"] == "ember-comparison-1");
  CHECK(json["summary"]["newly_unhealthy"] == 4);
  CHECK(json["summary"]["recovered"] == 1);
  CHECK(json["before"]["model"] == "net.onnx");
  CHECK(json["after"]["samples"] == 300);
  REQUIRE(json["layers"].size() == 2);
  CHECK(json["layers"][0]["changes"].empty());
  const auto& change = json["layers"][1]["changes"][1];
  CHECK(change["change"] == "newly_unhealthy");
  CHECK(change["after_index"] == 3);
  CHECK(change["before"] == "healthy");
  CHECK(change["after"] == "silent");
  CHECK(json["layers_added"][0]["node"] == "relu_3");
  CHECK_FALSE(json["layers_added"][0]["changes"][0].contains("before"));
  CHECK(json["layers_removed"].empty());
}
