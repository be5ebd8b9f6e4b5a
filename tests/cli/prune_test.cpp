#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/model.hpp>

#include "command.hpp"

using namespace ember;
using namespace ember::test;

namespace {

const std::string kModels = EMBER_SOURCE_DIR "/models/";
const std::string kDying = kModels + "digits_cnn_dead_bias.onnx --data " + kModels + "digits_calibration.npz";

}  // namespace

TEST_CASE_FIXTURE(Shell, "prune: the dying digits network gets smaller and answers the same") {
  const Outcome outcome = ember("prune " + kDying + " --verify " + kModels +
                                "digits_heldout.npz --round 1 -o small.onnx --json report.json");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.out, "32 channels removed"));
  const auto report = nlohmann::json::parse(file_text(folder / "report.json"));
  CHECK(report["schema"] == "ember-prune-1");
  CHECK(report["removed"].size() == 32);
  CHECK(report["after"]["parameters"].get<int>() < report["before"]["parameters"].get<int>());
  for (const auto& comparison : report["verification"]["comparisons"]) {
    if (comparison["on"] == "random") continue;  // silent channels may fire there
    CHECK(comparison["outputs"][0]["argmax_changes"] == 0);
    CHECK(comparison["outputs"][0]["max_relative"].get<double>() < 1e-4);
  }
  const auto map = nlohmann::json::parse(file_text(folder / "small.map.json"));
  CHECK(map["schema"] == "ember-channel-map-1");
  CHECK(map["tensors"] == report["map"]);
  CHECK(Model::load(folder / "small.onnx").info().parameters ==
        report["after"]["parameters"].get<std::int64_t>());
}

TEST_CASE_FIXTURE(Shell, "prune: a dry run writes nothing, and nothing proved means nothing removed") {
  const Outcome dry = ember("prune " + kDying + " --only proved --dry-run --json");
  REQUIRE_MESSAGE(dry.status == 0, dry.err);
  CHECK(nlohmann::json::parse(dry.out)["removed"].empty());
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE_FIXTURE(Shell, "prune: bad usage is refused, and nothing is written") {
  const std::vector<std::string> wrong = {
      "",
      "-o out.onnx --dry-run",
      "-o out.onnx --round 0",
      "-o out.onnx --round -2",
      "-o out.onnx --only dead",
      "-o out.onnx --audit missing.json",
      "-o missing/out.onnx",
      "-o out.onnx --map missing/map.json",
  };
  for (const std::string& arguments : wrong) {
    CAPTURE(arguments);
    const Outcome outcome = ember("prune " + kModels + "digits_cnn.onnx " + arguments);
    CHECK(outcome.status == 2);
    CHECK_FALSE(outcome.err.empty());
    CHECK(std::filesystem::is_empty(folder.path()));
  }
}
