#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include <ember/audit.hpp>

using namespace ember;

namespace {

AuditReport bundled(const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(EMBER_SOURCE_DIR) / "models";
  const auto samples = open_samples(folder / "digits_calibration.npz");
  const AuditReport report = audit(Model::load(folder / (name + ".onnx")), *samples);
  CHECK(report.samples == 1347);
  CHECK(report.notes.empty());
  return report;
}

std::int64_t silent(const AuditReport& report, std::size_t layer) {
  return report.layers().at(layer).count(Verdict::Silent) +
         report.layers().at(layer).count(Verdict::ProvedDead);
}

}  // namespace

// models/train.py prints, for each network, how many channels never fire on the calibration images as PyTorch
// computes them; these are its figures.

TEST_CASE("the healthy bundled networks have no silent channel") {
  CHECK(bundled("digits_cnn").count(Verdict::Silent) == 0);
  CHECK(bundled("digits_cnn").channels() == 128);
  CHECK(bundled("digits_mlp").count(Verdict::Silent) == 0);
  CHECK(bundled("digits_mlp").channels() == 96);
}

TEST_CASE("the bundled network with dead biases has the channels that were killed") {
  const AuditReport report = bundled("digits_cnn_dead_bias");
  REQUIRE(report.layers().size() == 6);
  for (std::size_t layer = 0; layer < 4; ++layer) CHECK(silent(report, layer) == 0);
  for (const std::size_t layer : {4UL, 5UL}) {
    CHECK(silent(report, layer) == 16);
    for (const ChannelReport& channel : report.layers()[layer].channels) {
      CHECK((channel.verdict == Verdict::Silent) == (channel.index % 2 == 0));
      if (channel.verdict != Verdict::Silent) continue;
      CHECK(channel.explanation.cause == Cause::BiasDominated);
      CHECK(channel.explanation.counterfactual.from == doctest::Approx(layer == 4 ? -12 : -20).epsilon(0.01));
      CHECK(channel.explanation.counterfactual.rate() > 0.0);
    }
  }
}

TEST_CASE("the checkpoints of the bundled network with too high a learning rate show its deaths") {
  struct Step {
    const char* name;
    std::int64_t first, second;
  };
  for (const Step& step : {Step{"_step000", 0, 0},
                           {"_step008", 0, 1},
                           {"_step016", 3, 2},
                           {"_step032", 10, 3},
                           {"_step064", 16, 0},
                           {"_step128", 29, 4},
                           {"_step256", 31, 0},
                           {"", 38, 3}}) {
    CAPTURE(step.name);
    const AuditReport report = bundled(std::string("digits_mlp_high_lr") + step.name);
    CHECK(silent(report, 0) == step.first);
    CHECK(silent(report, 1) == step.second);
  }
}

TEST_CASE("the bundled Leaky ReLU network has one-sided units but no silent ones") {
  const AuditReport report = bundled("digits_mlp_leaky");
  CHECK(report.count(Verdict::Silent) == 0);
  CHECK(report.layers().at(0).count(Verdict::AlwaysOn) == 18);
}
