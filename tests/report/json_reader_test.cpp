#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/file.hpp>
#include <ember/report.hpp>
#include <ember/statistics.hpp>

#include "sample_report.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using namespace ember::test;
using nlohmann::json;

namespace {

/// The message with which the sample report, spoilt, is refused.
std::string refusal(const std::function<void(json&)>& spoil) {
  json document = json::parse(to_json(sample_report()));
  spoil(document);
  try {
    (void)report_from_json(document.dump(), "r.json");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::InvalidData);
    CHECK(contains(error.what(), "'r.json'"));
    return error.what();
  }
  FAIL("accepted: " << document.dump());
  return {};
}

}  // namespace

TEST_CASE("a JSON report is read back as it was") {
  AuditReport report = sample_report();
  report.data_hash = "def";
  report.samples_not_finite = 3;
  report.confidence = 0.9;
  report.layer_reports[0].reads_input = true;
  report.layer_reports[1].predecessors = {0};
  report.layer_reports[1].feeds_output = true;
  ChannelReport& channel = report.layer_reports[1].channels[1];
  channel.fingerprint = "0123456789abcdef";
  channel.dormancy = 0.1;
  channel.statistics = {.samples = 200,
                        .samples_fired = 7,
                        .samples_saturated = 6,
                        .positions = (std::int64_t{1} << 60) + 1,
                        .positions_fired = (std::int64_t{1} << 59) + 1,
                        .positions_saturated = 5,
                        .not_finite = 4,
                        .pre_min = -0.0,
                        .pre_max = 5e-324,
                        .pre_sum = 0.1 + 0.2,
                        .pre_sum_squares = 1.7976931348623157e308,
                        .out_min = -1,
                        .out_max = 2,
                        .out_sum = 3,
                        .out_sum_squares = 4,
                        .out_sum_abs = 1.0 / 3.0};
  const AuditReport back = report_from_json(to_json(report));
  CHECK(to_json(back) == to_json(report));
  CHECK(to_text(back) == to_text(report));
  const ChannelReport& read = back.layers()[1].channels[1];
  CHECK(read.statistics.positions == channel.statistics.positions);
  CHECK(std::signbit(read.statistics.pre_min));
  CHECK(read.statistics.pre_max == channel.statistics.pre_max);
  CHECK(read.statistics.out_sum_abs == channel.statistics.out_sum_abs);
  CHECK(read.fingerprint == channel.fingerprint);
  CHECK(back.layers()[1].pattern == report.layers()[1].pattern);
  CHECK(back.model_hash == "abc");
}

TEST_CASE("the report of an audit survives the way through a file") {
  const ScratchFolder folder;
  const Model model = Model::load(EMBER_SOURCE_DIR "/models/digits_cnn_dead_bias.onnx");
  const auto samples = open_samples(EMBER_SOURCE_DIR "/models/digits_calibration.npz");
  const AuditReport report = audit(model, *samples, {.samples = 100});
  write_file(folder / "r.json", to_json(report));
  const AuditReport back = report_from_json_file(folder / "r.json");
  CHECK(to_json(back) == to_json(report));
  CHECK(back.count(Verdict::Silent) == report.count(Verdict::Silent));
  CHECK_THROWS_AS((void)report_from_json_file(folder / "none.json"), Error);
}

TEST_CASE("every verdict is read, and what JSON cannot hold is NaN") {
  AuditReport report = sample_report();
  report.layer_reports[0].channels.clear();
  for (int i = 0; i <= static_cast<int>(Verdict::Healthy); ++i) {
    report.layer_reports[0].channels.push_back(sample_channel(i, static_cast<Verdict>(i)));
  }
  report.layer_reports[0].channels[0].statistics.pre_sum = std::numeric_limits<double>::infinity();
  const AuditReport back = report_from_json(to_json(report));
  for (int i = 0; i <= static_cast<int>(Verdict::Healthy); ++i) {
    CHECK(back.layers()[0].channels[static_cast<std::size_t>(i)].verdict == static_cast<Verdict>(i));
  }
  CHECK(std::isnan(back.layers()[0].channels[0].statistics.pre_sum));
}

TEST_CASE("keys that a newer version added are passed over, and optional ones may be absent") {
  json document = json::parse(to_json(sample_report()));
  document["weather"] = {{"today", "fine"}};
  document["layers"][1]["mood"] = nullptr;
  document["layers"][1]["channels"][0]["colour"] = {1, 2};
  CHECK(to_json(report_from_json(document.dump())) == to_json(sample_report()));
  document["layers"][0].erase("fingerprint");
  document["layers"][0]["channels"][0].erase("fingerprint");
  CHECK(to_json(report_from_json(document.dump())) == to_json(sample_report()));
}

TEST_CASE("what is no audit report is refused with the place in the document") {
  const auto says = [](const std::function<void(json&)>& spoil, const std::string& words) {
    const std::string message = refusal(spoil);
    CHECK_MESSAGE(contains(message, words), message);
  };
  says([](json& j) { j = {1}; }, "the document is not a JSON object");
  says([](json& j) { j.erase("schema"); }, "schema is missing");
  says([](json& j) { j["schema"] = "ember-audit-2"; }, "'ember-audit-2'; this ember reads 'ember-audit-1'");
  says([](json& j) { j["schema"] = 1; }, "schema is not a text");
  says([](json& j) { j.erase("samples"); }, "samples is missing");
  says([](json& j) { j["samples"] = -1; }, "samples is negative");
  says([](json& j) { j["samples"] = 1.5; }, "samples is not a whole number");
  says([](json& j) { j["samples"] = 1ULL << 63; }, "samples is not a whole number");
  says([](json& j) { j["notes"] = "none"; }, "notes is not a list");
  says([](json& j) { j["notes"] = {"a", 2}; }, "notes[1] is not a text");
  says([](json& j) { j["layers"] = json::object(); }, "layers is not a list");
  says([](json& j) { j["layers"][1] = "relu"; }, "layers[1] is not a JSON object");
  says([](json& j) { j["layers"][1]["channels"][2].erase("pre"); }, "layers[1].channels[2].pre is missing");
  says([](json& j) { j["layers"][1]["channels"][2]["out"]["sum_abs"] = "x"; },
       "layers[1].channels[2].out.sum_abs is not a number");
  says([](json& j) { j["layers"][0]["channels"][0]["verdict"] = "dead"; },
       "layers[0].channels[0].verdict is 'dead', which is no verdict");
  says([](json& j) { j["layers"][0]["channels"].erase(0); }, "layers[0].channels[0].index is out of order");
  says([](json& j) { j["layers"][0]["channels"][1]["samples_fired"] = 201; },
       "layers[0].channels[1].samples_fired is more than 'samples'");
  says([](json& j) { j["layers"][1]["predecessors"] = {0, "a"}; },
       "layers[1].predecessors[1] is not a whole number");
  says([](json& j) { j["layers"][1]["predecessors"] = {1, 0}; },
       "layers[1].predecessors names layer 1, which does not come before");
  for (const char* text : {"", "{", "ember", "\xff\xfe"}) {
    CHECK_THROWS_AS((void)report_from_json(text), Error);
  }
  const std::string deep(200'000, '[');
  CHECK_THROWS_AS((void)report_from_json(deep), Error);
}
