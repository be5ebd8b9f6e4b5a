#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/report.hpp>

#include "report/escape.hpp"
#include "sample_report.hpp"

using namespace ember;
using namespace ember::test;

TEST_CASE("SARIF has one result per layer with a finding, and lists the channels in its properties") {
  const auto log = nlohmann::json::parse(to_sarif(sample_report()));
  CHECK(log["version"] == "2.1.0");
  const auto& run = log["runs"][0];
  REQUIRE(run["results"].size() == 2);
  const auto& result = run["results"][1];
  CHECK(result["ruleId"] == "silent");
  CHECK(result["level"] == "warning");
  CHECK(run["tool"]["driver"]["rules"][result["ruleIndex"].get<std::size_t>()]["id"] == "silent");
  CHECK(result["message"]["text"] == "3 of 6 channels of Relu 'relu_2': silent.");
  CHECK(result["properties"]["channels"]["silent"] == nlohmann::json({0, 1, 2}));
  CHECK(result["properties"]["silentRateBound"] == doctest::Approx(0.0273));
  const auto& location = result["locations"][0];
  CHECK(location["physicalLocation"]["artifactLocation"]["uri"] == "net.onnx");
  CHECK(location["logicalLocations"][0]["name"] == "relu_2");
  CHECK(run["results"][0]["level"] == "note");
  CHECK(run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"] ==
        sample_report().notes[0]);
  for (const auto& rule : run["tool"]["driver"]["rules"]) CHECK_FALSE(rule["help"]["text"].empty());
}

TEST_CASE("SARIF fingerprints follow the weights, not names, places or the order of channels") {
  const auto prints = [](const AuditReport& report) {
    return nlohmann::json::parse(to_sarif(report))["runs"][0]["results"][1]["partialFingerprints"];
  };
  AuditReport report = sample_report();
  report.layer_reports[1].fingerprint = "structure";
  for (ChannelReport& channel : report.layer_reports[1].channels) {
    channel.fingerprint = std::to_string(channel.index);
  }
  const auto before = prints(report);
  report.model = "other.onnx";
  report.layer_reports[1].node = "renamed";
  std::swap(report.layer_reports[1].channels[0].fingerprint, report.layer_reports[1].channels[1].fingerprint);
  CHECK(prints(report) == before);
  report.layer_reports[1].channels[4].fingerprint = "trained on";
  CHECK(prints(report)["layerStructure/v1"] == before["layerStructure/v1"]);
  CHECK(prints(report)["layerWeights/v1"] != before["layerWeights/v1"]);
  report.layer_reports[0] = report.layer_reports[1];  // twins are told apart
  const auto results = nlohmann::json::parse(to_sarif(report))["runs"][0]["results"];
  CHECK(results[0]["partialFingerprints"] != results[1]["partialFingerprints"]);
}

TEST_CASE("SARIF names a model file by a URI") {
  AuditReport report = sample_report();
  const auto uri = [&] {
    const auto run = nlohmann::json::parse(to_sarif(report))["runs"][0];
    return run["artifacts"][0]["location"]["uri"].get<std::string>();
  };
  report.model = "nets/my net#1.onnx";
  CHECK(uri() == "nets/my%20net%231.onnx");
  report.model = "/data/ü.onnx";
  CHECK(uri() == "file:///data/%C3%BC.onnx");
  report.model = "<memory>";
  CHECK(uri() == "%3Cmemory%3E");
  report.model = "bad\xff.onnx";
  CHECK(uri() == "bad%FF.onnx");
}

TEST_CASE("JUnit has one case per layer, and fails those that the gate fails") {
  const AuditReport report = sample_report();
  const std::string passed = to_junit(report);
  CHECK(contains(passed, R"(tests="2" failures="0")"));
  CHECK(contains(passed, R"(<testcase name="relu_1" classname="net.onnx" time="0"/>)"));
  CHECK_FALSE(contains(passed, "<failure"));
  CHECK_FALSE(contains(passed, "timestamp"));
  CHECK(contains(passed, "3 silent: channels 0-2"));
  const auto failure = [](const LayerReport& layer) {
    return layer.count(Verdict::Silent) > 0 ? std::string("too \"many\" & more") : std::string();
  };
  const std::string failed = to_junit(report, {.failure = failure, .timestamp = "2030-01-02T03:04:05"});
  CHECK(contains(failed, R"(tests="2" failures="1")"));
  CHECK(contains(failed, R"(timestamp="2030-01-02T03:04:05")"));
  CHECK(contains(failed, R"(<failure message="too &quot;many&quot; &amp; more" type="gate">3 silent)"));
}

TEST_CASE("markup is escaped, and what XML cannot hold is replaced") {
  CHECK(report::escaped_markup("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#39;");
  CHECK(report::escaped_markup("]]></script>") == "]]&gt;&lt;/script&gt;");
  CHECK(report::escaped_markup("ü€😀") == "ü€😀");
  CHECK(report::escaped_markup("a\nb") == "a&#10;b");
  const std::string bad = "\xEF\xBF\xBD";
  CHECK(report::escaped_markup(std::string("\0\x1b", 2)) == bad + bad);
  CHECK(report::escaped_markup("\xff") == bad);
  CHECK(report::escaped_markup("\xc0\xaf") == bad + bad);    // overlong
  CHECK(report::escaped_markup("\xed\xa0\x80") == bad);      // a surrogate
  CHECK(report::escaped_markup("\xe2\x82") == bad + bad);    // cut off
  CHECK(report::escaped_markup("\xf4\x90\x80\x80") == bad);  // beyond Unicode
  CHECK(report::escaped_markup("\xef\xbf\xbf") == bad);      // not a character of XML
}

TEST_CASE("the published schema is the one the report names") {
  const auto schema = nlohmann::json::parse(audit_schema());
  CHECK(schema["properties"]["schema"]["const"] == nlohmann::json::parse(to_json(sample_report()))["schema"]);
}
