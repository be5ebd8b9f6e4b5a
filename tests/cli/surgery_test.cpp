#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/file.hpp>

#include "command.hpp"

using namespace ember;
using namespace ember::test;

namespace {

const std::string kModels = EMBER_SOURCE_DIR "/models/";
const std::string kDigits = " --data " + kModels + "digits_calibration.npz";
const std::string kDying = kModels + "digits_mlp_high_lr.onnx";

struct Surgery : Shell {
  /// Expects status 2, these words, and no file.
  void refuse(const std::string& arguments, const std::string& words) const {
    CAPTURE(arguments);
    const Outcome outcome = ember(arguments);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK_MESSAGE(contains(outcome.err, words), outcome.err);
    CHECK(std::filesystem::is_empty(folder.path()));
  }
};

}  // namespace

TEST_CASE_FIXTURE(Surgery, "swap: writes the network and says what changed") {
  const Outcome text = ember("swap " + kDying + " --to leaky:0.1 -o leaky.onnx" + kDigits);
  REQUIRE_MESSAGE(text.status == 0, text.err);
  CHECK(contains(text.out, "2 activations replaced by leaky:0.1"));
  CHECK(contains(text.out, "calibration data"));
  CHECK(contains(text.out, "1,347"));
  const Outcome audited = ember("audit leaky.onnx --max-silent 0" + kDigits);
  CHECK_MESSAGE(audited.status == 0, audited.err);
  const Outcome json = ember("swap " + kDying + " --to gelu --layers /4/Relu -o gelu.onnx --json");
  REQUIRE_MESSAGE(json.status == 0, json.err);
  const auto report = nlohmann::json::parse(json.out);
  CHECK(report["schema"] == "ember-swap-1");
  CHECK(report["swapped"].size() == 1);
  CHECK(report["swapped"][0]["to"] == "gelu");
  CHECK(report["verification"]["comparisons"][0]["on"] == "random");
  CHECK(exists("gelu.onnx"));
}

TEST_CASE_FIXTURE(Surgery, "swap --bias: raises the biases of unhealthy channels only") {
  const Outcome outcome =
      ember("swap " + kDying + " --bias 1000 --layers /4/Relu -o up.onnx --json" + kDigits);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  const auto report = nlohmann::json::parse(outcome.out);
  REQUIRE(report["raised"].size() == 3);
  CHECK(report["raised"][0]["node"] == "/4/Relu");
  CHECK(report["raised"][0]["channel"] == 2);
  CHECK(report["refusals"].empty());
  const auto audited = nlohmann::json::parse(ember("audit up.onnx --json" + kDigits).out);
  CHECK(audited["layers"][0]["summary"]["silent"] == 38);
  CHECK(audited["layers"][1]["summary"]["silent"] == 0);
}

TEST_CASE_FIXTURE(Surgery, "swap: what is wrong is refused before anything is written") {
  refuse("swap " + kDying + " -o x.onnx", "--to");
  refuse("swap " + kDying + " --to gelu", "--output");
  refuse("swap " + kDying + " --to sometimes -o x.onnx", "sometimes");
  refuse("swap " + kDying + " --to gelu --layers nowhere -o x.onnx", "nowhere");
  refuse("swap " + kDying + " --to gelu --from Elu -o x.onnx", "Elu");
  refuse("swap " + kDying + " --bias 1 -o x.onnx", "--data");
  refuse("swap " + kDying + " --bias 1 --channels sick -o x.onnx" + kDigits, "sick");
  refuse("swap " + kDying + " --to gelu -o x.onnx --data missing.npz", "missing.npz");
  refuse("swap " + kDying + " --to gelu -o nowhere/x.onnx", "nowhere");
}

TEST_CASE_FIXTURE(Surgery, "revive: all dead units fire, and the answers stay") {
  for (const char* init : {"he", "rai", "split"}) {
    CAPTURE(init);
    const Outcome outcome = ember("revive " + kDying + kDigits + " --verify " + kModels +
                                  "digits_heldout.npz -o alive.onnx --touched " +
                                  "touched.json --json report.json --init " + init);
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
    CHECK(contains(outcome.out, "41 units revived"));
    const auto report = nlohmann::json::parse(file_text(folder / "report.json"));
    CHECK(report["schema"] == "ember-revive-1");
    CHECK(report["units"].size() == 41);
    CHECK(report["refusals"].empty());
    for (const auto& comparison : report["verification"]["comparisons"]) {
      if (comparison["on"] == "random") continue;
      // Silent is not dead: an image of other data may fire a unit, whose share of the outputs is then gone.
      const double allowed = comparison["on"] == "calibration" ? 1e-5 : 1e-3;
      CHECK(comparison["outputs"][0]["max_relative"].get<double>() < allowed);
      CHECK(comparison["outputs"][0]["argmax_changes"] == 0);
      CHECK(comparison["accuracy_before"] == comparison["accuracy_after"]);
    }
    const auto touched = nlohmann::json::parse(file_text(folder / "touched.json"));
    CHECK(touched["touched"] == report["touched"]);
    CHECK(ember("audit alive.onnx --max-silent 0" + kDigits).status == 0);
  }
}

TEST_CASE_FIXTURE(Surgery, "revive, swap: a saved report stands for an audit and names the data") {
  REQUIRE(ember("audit " + kDying + kDigits + " --quiet --json audit.json").status == 0);
  const Outcome direct = ember("revive " + kDying + kDigits + " -o direct.onnx");
  const Outcome saved = ember("revive " + kDying + " --audit audit.json -o saved.onnx");
  REQUIRE_MESSAGE(saved.status == 0, saved.err);
  CHECK(file_text(folder / "direct.onnx") == file_text(folder / "saved.onnx"));
  const Outcome raised = ember("swap " + kDying + " --bias 1 --audit audit.json -o up.onnx");
  REQUIRE_MESSAGE(raised.status == 0, raised.err);
  CHECK(contains(raised.out, "42 channels raised by 1"));
  // Another network's report, and data that are not what they were.
  const Outcome other = ember("revive " + kModels + "digits_cnn.onnx --audit audit.json -o x.onnx");
  CHECK(other.status == 2);
  CHECK(contains(other.err, "/2/Relu"));
  std::string text = file_text(folder / "audit.json");
  text.replace(text.find("data_sha256") + 16, 4, "0000");
  write_file(folder / "old.json", text);
  const Outcome old = ember("revive " + kDying + " --audit old.json -o x.onnx");
  CHECK(old.status == 2);
  CHECK(contains(old.err, "changed"));
  CHECK_FALSE(exists("x.onnx"));
}

TEST_CASE_FIXTURE(Surgery, "revive: what is wrong is refused before anything is written") {
  refuse("revive " + kDying + " -o x.onnx", "--data");
  refuse("revive " + kDying + kDigits, "--output");
  refuse("revive " + kDying + " -o x.onnx --init zero" + kDigits, "zero");
  refuse("revive " + kDying + " -o x.onnx --fire-share 1.5" + kDigits, "share");
  refuse("revive " + kDying + " -o x.onnx --only deadish" + kDigits, "deadish");
  refuse("revive " + kDying + " -o nowhere/x.onnx" + kDigits, "nowhere");
}

TEST_CASE_FIXTURE(Surgery,
                  "prune, revive, swap: interrupted or killed at any moment they leave whole files or none") {
  struct Case {
    std::string verb;
    std::string beside;  ///< what is written before the network
  };
  const std::vector<Case> cases = {{"prune" + kDigits + " --round 1", "new.map.json"},
                                   {"revive" + kDigits + " --touched touched.json", "touched.json"},
                                   {"swap --to gelu", ""}};
  std::mt19937 random(20);
  for (const auto& [verb, beside] : cases) {
    for (int trial = 0; trial < 8; ++trial) {
      // Later and later, each time with some chance in it.
      const double after = 0.004 * (1 << trial) * (0.75 + static_cast<double>(random() % 100) / 200.0);
      CAPTURE(verb);
      CAPTURE(after);
      (void)shell("timeout -s " + std::string(trial % 2 == 0 ? "KILL " : "INT ") + std::to_string(after) +
                  " \"" EMBER_BINARY_DIR "/ember\" " + verb + " " + kDying + " -o new.onnx");
      for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
        const std::string name = entry.path().filename();
        CHECK_MESSAGE((name == "new.onnx" || name == beside), name);
        if (entry.path().extension() == ".json") CHECK(nlohmann::json::accept(file_text(entry.path())));
      }
      if (exists("new.onnx")) {
        CHECK(ember("info new.onnx").status == 0);
        CHECK((beside.empty() || exists(beside)));
      }
      std::filesystem::remove(folder / "new.onnx");
      if (!beside.empty()) std::filesystem::remove(folder / beside);
    }
  }
}
