#include <algorithm>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <ember/compare.hpp>
#include <ember/report.hpp>

#include "support/edited_model.hpp"

using namespace ember;

namespace {

const std::string kModels = EMBER_SOURCE_DIR "/models/";

AuditReport audited(const Model& model) {
  const auto samples = open_samples(kModels + "digits_calibration.npz");
  return audit(model, *samples, {.samples = 400});
}
Model bundled(const std::string& name) { return Model::load(kModels + name + ".onnx"); }

ChannelReport channel(std::int64_t index, Verdict verdict, const std::string& fingerprint = "") {
  return {.index = index, .verdict = verdict, .fingerprint = fingerprint};
}
AuditReport one_layer(std::vector<ChannelReport> channels) {
  AuditReport report;
  report.layer_reports.push_back({.node = "relu", .op = "Relu", .channels = std::move(channels)});
  report.layer_reports.back().fingerprint = "structure";
  return report;
}

/// The verdict of a single channel goes from one to the other.
Change change_of(Verdict before, Verdict after) {
  const AuditComparison comparison =
      compare(one_layer({channel(0, before, "w")}), one_layer({channel(0, after, "w")}));
  REQUIRE(comparison.layers.size() == 1);
  REQUIRE(comparison.layers[0].changes.size() == 1);
  const ChannelChange& change = comparison.layers[0].changes[0];
  CHECK(change.before == before);
  CHECK(change.after == after);
  return change.change;
}

}  // namespace

TEST_CASE("an audit compared with itself has no change") {
  const AuditReport report = audited(bundled("digits_cnn_dead_bias"));
  const AuditComparison comparison = compare(report, report);
  CHECK(comparison.layers.size() == report.layers().size());
  for (const LayerComparison& layer : comparison.layers) {
    CHECK(layer.changes.empty());
    CHECK(layer.weights_changed == 0);
    CHECK(layer.before_node == layer.after_node);
  }
  CHECK(comparison.added.empty());
  CHECK(comparison.removed.empty());
  CHECK(comparison.notes.empty());
  CHECK(comparison.before.unhealthy == comparison.after.unhealthy);
  CHECK(comparison.before.unhealthy > 30);
}

TEST_CASE("the dying digits network against the healthy one: what died is named") {
  const AuditReport healthy = audited(bundled("digits_cnn"));
  const AuditReport dying = audited(bundled("digits_cnn_dead_bias"));
  const AuditComparison comparison = compare(healthy, dying);
  CHECK(comparison.added.empty());
  CHECK(comparison.removed.empty());
  for (const LayerComparison& layer : comparison.layers) {
    CHECK(layer.weights_changed == layer.channels_after);  // they were trained apart
    const auto now = std::ranges::find(dying.layers(), layer.after_node, &LayerReport::node);
    const auto died = std::ranges::count_if(layer.changes, [](const ChannelChange& change) {
      return change.change == Change::NewlyUnhealthy && change.after == Verdict::Silent;
    });
    CHECK(died == now->count(Verdict::Silent));
  }
  CHECK(comparison.count(Change::NewlyUnhealthy) >= 32);
  CHECK(comparison.count(Change::Recovered) == 0);
  CHECK(compare(dying, healthy).count(Change::Recovered) == comparison.after.unhealthy);
  CHECK(compare(dying, healthy).count(Change::NewlyUnhealthy) == 0);
}

TEST_CASE("a re-export with other names has no change, and one more dead channel is one change") {
  const Model model = bundled("digits_mlp_high_lr");
  const AuditReport before = audited(model);
  const AuditComparison same = compare(before, audited(test::renamed(model)));
  CHECK(same.count(Change::NewlyUnhealthy) == 0);
  CHECK(same.count(Change::Other) == 0);
  CHECK(same.added.empty());
  CHECK(same.removed.empty());
  REQUIRE(same.layers.size() == 2);
  CHECK(same.layers[0].before_node != same.layers[0].after_node);
  CHECK(same.layers[0].weights_changed == 0);

  const AuditReport& first = before;
  std::size_t alive = 0;
  while (is_unhealthy(first.layers()[0].channels[alive].verdict)) ++alive;
  const AuditComparison worse =
      compare(before, audited(test::renamed(test::with_dead_channel(model, alive))));
  const LayerComparison& layer = worse.layers[0];
  CHECK(layer.weights_changed == 1);
  REQUIRE(layer.count(Change::NewlyUnhealthy) == 1);
  CHECK(layer.changes[0].after_index == static_cast<std::int64_t>(alive));
  CHECK(layer.changes[0].after == Verdict::Silent);
}

TEST_CASE("what counts as newly unhealthy") {
  CHECK(change_of(Verdict::Healthy, Verdict::Silent) == Change::NewlyUnhealthy);
  CHECK(change_of(Verdict::Healthy, Verdict::Dormant) == Change::NewlyUnhealthy);
  CHECK(change_of(Verdict::AlwaysOn, Verdict::Rare) == Change::NewlyUnhealthy);
  CHECK(change_of(Verdict::Rare, Verdict::Silent) == Change::NewlyUnhealthy);
  CHECK(change_of(Verdict::Dormant, Verdict::ProvedDead) == Change::NewlyUnhealthy);
  CHECK(change_of(Verdict::Silent, Verdict::ProvedDead) == Change::Other);
  CHECK(change_of(Verdict::Silent, Verdict::Rare) == Change::Other);
  CHECK(change_of(Verdict::Constant, Verdict::Silent) == Change::Other);
  CHECK(change_of(Verdict::Healthy, Verdict::AlwaysOn) == Change::Other);
  CHECK(change_of(Verdict::Silent, Verdict::Healthy) == Change::Recovered);
  CHECK(change_of(Verdict::Rare, Verdict::AlwaysOn) == Change::Recovered);
}

TEST_CASE("channels follow their weights when they change places, go or come") {
  const AuditReport before = one_layer(
      {channel(0, Verdict::Healthy, "a"), channel(1, Verdict::Silent, "b"), channel(2, Verdict::Rare, "c")});
  AuditReport after = one_layer(
      {channel(0, Verdict::Silent, "b"), channel(1, Verdict::Rare, "c"), channel(2, Verdict::Healthy, "a")});
  CHECK(compare(before, after).layers[0].changes.empty());
  after.layer_reports[0].channels = {channel(0, Verdict::Healthy, "a"), channel(1, Verdict::Rare, "c")};
  AuditComparison pruned = compare(before, after);
  REQUIRE(pruned.layers[0].changes.size() == 1);
  CHECK(pruned.layers[0].changes[0].change == Change::Removed);
  CHECK(pruned.layers[0].changes[0].before_index == 1);
  CHECK_FALSE(pruned.layers[0].changes[0].after_index.has_value());
  AuditComparison grown = compare(after, before);
  CHECK(grown.count(Change::NewlyUnhealthy) == 1);  // unknown before, silent now
  CHECK(grown.layers[0].changes[0].after_index == 1);
  CHECK_FALSE(grown.layers[0].changes[0].before.has_value());
}

TEST_CASE("layers that only one network has are named, and what is wrong in a new one counts") {
  const AuditReport before = one_layer({channel(0, Verdict::Healthy, "a")});
  AuditReport after = before;
  after.layer_reports.push_back({.node = "extra",
                                 .op = "Clip",
                                 .channels = {channel(0, Verdict::Silent), channel(1, Verdict::Healthy)},
                                 .fingerprint = "other structure"});
  const AuditComparison grown = compare(before, after);
  REQUIRE(grown.added.size() == 1);
  CHECK(grown.added[0].node == "extra");
  CHECK(grown.count(Change::NewlyUnhealthy) == 1);
  CHECK(grown.count(Change::Added) == 1);
  const AuditComparison shrunk = compare(after, before);
  REQUIRE(shrunk.removed.size() == 1);
  CHECK(shrunk.removed[0].op == "Clip");
  CHECK(shrunk.count(Change::Removed) == 2);
  CHECK(shrunk.count(Change::NewlyUnhealthy) == 0);
}

TEST_CASE("twin layers are matched by weights, then by name") {
  AuditReport before;
  before.layer_reports = {
      {.node = "left", .op = "Relu", .channels = {channel(0, Verdict::Silent, "l")}, .fingerprint = "1"},
      {.node = "right", .op = "Relu", .channels = {channel(0, Verdict::Healthy, "r")}, .fingerprint = "2"}};
  AuditReport after = before;
  std::swap(after.layer_reports[0], after.layer_reports[1]);
  std::swap(after.layer_reports[0].fingerprint, after.layer_reports[1].fingerprint);
  CHECK(compare(before, after).layers[0].changes.empty());
  CHECK(compare(before, after).layers[1].changes.empty());
  // Without any fingerprint, names decide.
  for (AuditReport* report : {&before, &after}) {
    for (LayerReport& layer : report->layer_reports) {
      layer.fingerprint.clear();
      layer.channels[0].fingerprint.clear();
    }
  }
  const AuditComparison by_name = compare(before, after);
  REQUIRE(by_name.layers.size() == 2);
  CHECK(by_name.layers[0].before_node == "right");
  CHECK(by_name.layers[0].changes.empty());
}

TEST_CASE("a network written with other operators and names is followed by the order of its layers") {
  AuditReport before;
  before.layer_reports = {
      {.node = "a", .op = "Relu", .channels = {channel(0, Verdict::Silent, "1")}, .fingerprint = "x"},
      {.node = "b", .op = "Relu", .channels = {channel(0, Verdict::Healthy, "2")}, .fingerprint = "y"}};
  AuditReport after;
  after.layer_reports = {
      {.node = "c", .op = "Relu", .channels = {channel(0, Verdict::Silent, "3")}, .fingerprint = "u"},
      {.node = "d", .op = "Relu", .channels = {channel(0, Verdict::Rare, "4")}, .fingerprint = "v"}};
  const AuditComparison same = compare(before, after);
  REQUIRE(same.layers.size() == 2);
  CHECK(same.count(Change::NewlyUnhealthy) == 1);
  CHECK(same.layers[1].before_node == "b");
  REQUIRE(same.notes.size() == 1);
  CHECK(same.notes[0].find("2 layers are compared by their order") != std::string::npos);
  // One layer more: nothing says which is which.
  after.layer_reports.push_back(after.layer_reports[0]);
  CHECK(compare(before, after).layers.empty());
  CHECK(compare(before, after).added.size() == 3);
}

TEST_CASE("other data, samples, confidence or instruction set are noted") {
  const AuditReport before = one_layer({channel(0, Verdict::Healthy)});
  AuditReport after = before;
  after.data = "other.npz";
  after.data_hash = "1";
  after.samples = 7;
  after.confidence = 0.5;
  after.isa = "sse42";
  const AuditComparison comparison = compare(before, after);
  CHECK(comparison.notes.size() == 4);
  CHECK(comparison.notes[0].find("other.npz") != std::string::npos);
}
