#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/npy.hpp>

#include "command.hpp"
#include "model_files.hpp"

using namespace ember;
using namespace ember::test;

namespace {

const std::string kModels = EMBER_SOURCE_DIR "/models/";
const std::string kDigits = " --data " EMBER_SOURCE_DIR "/models/digits_calibration.npz";

struct Audit : Shell {
  [[nodiscard]] Outcome bundled(const std::string& model, const std::string& arguments) const {
    return ember("audit " + kModels + model + ".onnx" + kDigits + " " + arguments);
  }
  /// Audits small_model() (three units), with data of its own, and expects status 2 and these words.
  void refuse(const std::string& arguments, const std::vector<std::string>& words) const {
    CAPTURE(arguments);
    const Outcome outcome = ember("audit m.onnx --json report.json " + arguments);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    for (const std::string& word : words)
      CHECK_MESSAGE(contains(outcome.err, word), word << " in " << outcome.err);
    CHECK_FALSE(exists("report.json"));
  }
};

Tensor rows(std::vector<float> values) {
  const auto n = static_cast<std::int64_t>(values.size()) / 3;
  return Tensor(Shape{n, 3}, std::move(values));
}

}  // namespace

TEST_CASE_FIXTURE(Audit, "audit: healthy bundled networks pass the gate, dying ones fail it") {
  for (const char* model : {"digits_cnn", "digits_mlp", "digits_mlp_leaky"}) {
    const Outcome outcome = bundled(model, "--max-silent 0");
    CHECK_MESSAGE(outcome.status == 0, model << ": " << outcome.err);
    CHECK(outcome.err.empty());
  }
  for (const char* model : {"digits_cnn_dead_bias", "digits_mlp_high_lr"}) {
    const Outcome outcome = bundled(model, "--max-silent 0");
    CHECK_MESSAGE(outcome.status == 1, model << ": " << outcome.err);
    CHECK(contains(outcome.err, "gate failed"));
    CHECK(contains(outcome.out, "silent"));
  }
}

TEST_CASE_FIXTURE(Audit, "audit: the gate counts channels or shares") {
  // 32 of 128 channels are silent: exactly a quarter.
  CHECK(bundled("digits_cnn_dead_bias", "").status == 0);
  CHECK(bundled("digits_cnn_dead_bias", "--max-silent 31").status == 1);
  CHECK(bundled("digits_cnn_dead_bias", "--max-silent 32").status == 0);
  CHECK(bundled("digits_cnn_dead_bias", "--max-silent 24.9%").status == 1);
  CHECK(bundled("digits_cnn_dead_bias", "--max-silent 25%").status == 0);
  for (const char* wrong : {"x", "-1", "1.5", "101%", "%", "1e400", "nan"}) {
    const Outcome outcome = bundled("digits_cnn_dead_bias", std::string("--max-silent=") + wrong);
    CHECK_MESSAGE(outcome.status == 2, wrong);
    CHECK(contains(outcome.err, "--max-silent"));
  }
}

TEST_CASE_FIXTURE(Audit, "audit: JSON goes to a file beside the text, or alone to standard output") {
  const Outcome both = bundled("digits_mlp_high_lr", "--json report.json");
  CHECK(both.status == 0);
  CHECK(contains(both.out, "41 silent"));
  const auto report = nlohmann::json::parse(file_text(folder / "report.json"));
  CHECK(report["schema"] == "ember-audit-1");
  CHECK(report["samples"] == 1347);
  CHECK(report["summary"]["silent"] == 41);
  CHECK(report["model_sha256"].get<std::string>().size() == 64);
  CHECK(report["data_sha256"].get<std::string>().size() == 64);
  const Outcome alone = bundled("digits_mlp_high_lr", "--samples 100 --threads 2 --batch 7 --json");
  const auto printed = nlohmann::json::parse(alone.out);
  CHECK(printed["samples"] == 100);
  CHECK(printed["layers"][0]["channels"][0]["samples"] == 100);
}

TEST_CASE_FIXTURE(Audit, "audit: preprocessing comes from a file, and options win over it") {
  small_model().save(folder / "m.onnx");  // relu(x + (1, 2, 3))
  save_npy(folder / "x.npy", rows({-30, -30, -30, 10, 10, 10}).view());
  write_file(folder / "p.json", R"({"scale": 0.1, "mean": [0.5]})");  // -3.5, 0.5: the third unit gets -0.5
  const auto silent = [&](const std::string& arguments) {
    const Outcome outcome = ember("audit m.onnx --data x.npy --json " + arguments);
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
    return nlohmann::json::parse(outcome.out)["layers"][0]["channels"][2]["samples_fired"].get<int>();
  };
  CHECK(silent("") == 1);
  CHECK(silent("--preprocess p.json") == 1);
  CHECK(silent("--preprocess p.json --mean 0") == 1);  // -3 is exactly the corner
  CHECK(silent("--preprocess p.json --mean 0 --scale 0.09") == 2);
  CHECK(silent("--scale 0.1 --std 2 --mean 0.5") == 2);
  CHECK(silent("--scale 0.1 --offset -20") == 0);
}

TEST_CASE_FIXTURE(Audit, "audit: NaN in the data is reported") {
  small_model().save(folder / "m.onnx");
  save_npy(folder / "x.npy", rows({1, 1, 1, std::numeric_limits<float>::quiet_NaN(), 1, 1}).view());
  const Outcome outcome = ember("audit m.onnx --data x.npy");
  CHECK(outcome.status == 0);
  CHECK(contains(outcome.out, "1 of 2 samples hold a NaN"));
}

TEST_CASE_FIXTURE(Audit, "audit: bad data and bad usage are refused, and nothing is written") {
  small_model().save(folder / "m.onnx");
  save_npy(folder / "x.npy", rows({1, 2, 3}).view());
  save_npy(folder / "wide.npy", Tensor(Shape{2, 4}, std::vector<float>(8)).view());
  save_npy(folder / "none.npy", Tensor(Shape{0, 3}, std::vector<float>()).view());
  write_file(folder / "bad.json", R"({"sacle": 1})");
  refuse("", {"--data"});
  refuse("--data missing.npy", {"missing.npy"});
  refuse("--data wide.npy", {"4", "3"});
  refuse("--data none.npy", {"no samples"});
  refuse("--data x.npy --preprocess bad.json", {"sacle"});
  refuse("--data x.npy --mean 1,2", {"mean"});
  refuse("--data x.npy --confidence 1", {"confidence"});
  refuse("--data x.npy --samples 0", {"--samples"});
  refuse("--data x.npy --colour RGB", {"--colour"});
}

TEST_CASE_FIXTURE(Audit, "audit: several models are checkpoints, followed; they make no single report") {
  const std::string steps =
      kModels + "digits_mlp_high_lr_step008.onnx " + kModels + "digits_mlp_high_lr_step016.onnx ";
  const Outcome outcome = ember("audit " + steps + kDigits + " --json life.json");
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.out, "between checkpoints 0 and 1"));
  const auto json = nlohmann::json::parse(file_text(folder / "life.json"));
  CHECK(json["checkpoints"].size() == 2);
  for (const auto& death : json["deaths"]) CHECK(death["first_silent"].get<int>() <= 1);
  for (const char* wrong : {"--max-silent 0", "--sarif s.sarif", "--shard 1/2 --stats s.stats"}) {
    CAPTURE(wrong);
    CHECK(ember("audit " + steps + kDigits + " " + wrong).status == 2);
  }
  CHECK(ember("audit " + steps + kModels + "digits_cnn.onnx" + kDigits).status == 2);
}

TEST_CASE_FIXTURE(Audit, "audit: groups are the trials; labels that do not fit are refused") {
  Tensor groups(DataType::Int64, {1347});
  for (std::size_t i = 0; i < 1347; ++i) groups.data<std::int64_t>()[i] = static_cast<std::int64_t>(i / 10);
  save_npy(folder / "g.npy", groups.view());
  const Outcome outcome =
      bundled("digits_cnn_dead_bias", "--groups g.npy --no-explain --quiet --json r.json");
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  const auto json = nlohmann::json::parse(file_text(folder / "r.json"));
  CHECK(json["groups"] == 135);
  CHECK(json["discovery"]["trial"] == "group");
  CHECK(json["layers"][5]["channels"][0]["groups_fired"] == 0);
  CHECK(json["explain_samples"] == 0);
  save_npy(folder / "short.npy", Tensor(DataType::Int64, {3}).view());
  CHECK(contains(bundled("digits_cnn", "--groups short.npy").err, "3 group labels for 1347 samples"));
}
