#include <map>
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

const std::string kHighRate = "audit " EMBER_SOURCE_DIR "/models/digits_mlp_high_lr.onnx";
const std::string kDigits = " --data " EMBER_SOURCE_DIR "/models/digits_calibration.npz";

nlohmann::json json_file(const Shell& shell, const std::string& name) {
  return nlohmann::json::parse(file_text(shell.folder / name));
}

void save_domain(const Shell& shell, const std::string& name, float lower, float upper) {
  std::map<std::string, Tensor> arrays;
  arrays.emplace("lower", Tensor::scalar(lower));
  arrays.emplace("upper", Tensor::scalar(upper));
  save_npz(shell.folder / name, arrays);
}

}  // namespace

TEST_CASE_FIXTURE(Shell, "audit: witnesses fire the channels that they are said to fire") {
  save_domain(*this, "domain.npz", 0.0F, 1.0F);
  const Outcome outcome =
      ember(kHighRate + kDigits + " --domain domain.npz --witnesses w.npz --json r.json --max-silent 0");
  CHECK_MESSAGE(outcome.status == 1, outcome.err);  // what is silent on the data stays so for the gate
  CHECK(contains(outcome.out, "by domain.npz"));
  const nlohmann::json report = json_file(*this, "r.json");
  const auto silent = report["summary"]["silent"].get<int>();
  const auto refuted = report["summary"]["refuted"].get<int>();
  const auto dead = report["summary"]["proved_dead"].get<int>();
  CHECK(silent + refuted + dead == 41);
  CHECK(refuted + dead >= 39);  // 95%
  CHECK(report["proof"]["witnesses"].size() == static_cast<std::size_t>(refuted));

  const std::map<std::string, Tensor> witnesses = load_npz(folder / "w.npz");
  const auto channels = witnesses.at("channel").data<std::int64_t>();
  const auto layers = witnesses.at("layer").data<std::int64_t>();
  REQUIRE(channels.size() == static_cast<std::size_t>(refuted));
  // The file is data for an audit like any other: there the channels fire.
  const Outcome again = ember(kHighRate + " --data w.npz --json again.json --quiet");
  CHECK_MESSAGE(again.status == 0, again.err);
  const nlohmann::json fired = json_file(*this, "again.json");
  for (std::size_t i = 0; i < channels.size(); ++i) {
    const auto& layer = fired["layers"][static_cast<std::size_t>(layers[i])];
    CHECK(layer["channels"][static_cast<std::size_t>(channels[i])]["samples_fired"].get<int>() >= 1);
  }
  // And a run of one of them shows the channel firing, with the value that the audit reached.
  const std::string run = "run " EMBER_SOURCE_DIR "/models/digits_mlp_high_lr.onnx --input ";
  for (const std::size_t i : {std::size_t{0}, channels.size() / 2, channels.size() - 1}) {
    const auto node = report["layers"][static_cast<std::size_t>(layers[i])]["node"].get<std::string>();
    const std::string watch = " --watch " + node + ":" + std::to_string(channels[i]);
    const Outcome shown = ember(run + "w.npz --sample " + std::to_string(i) + watch);
    CHECK_MESSAGE(shown.status == 0, shown.err);
    CHECK_MESSAGE(contains(shown.out, node + " channel " + std::to_string(channels[i]) + ": fires; before"),
                  shown.out);
    const Outcome seen = ember(run + "w.npz --json --sample " + std::to_string(i) + watch);
    const auto json = nlohmann::json::parse(seen.out);
    CHECK(json["watched"].size() == 1);
    CHECK(json["watched"][0]["samples_fired"] == 1);
    const auto reached = witnesses.at("pre_activation").data<float>()[i];
    CHECK(json["watched"][0]["pre_max"].get<double>() == double{reached});
    const Outcome other = ember(run + EMBER_SOURCE_DIR "/models/digits_calibration.npz --sample 0" + watch);
    CHECK_MESSAGE(contains(other.out, ": does not fire; before"), other.out);
  }
}

TEST_CASE_FIXTURE(Shell, "audit: labels bring a gradient view, in text and JSON") {
  const std::string labels = " --labels " EMBER_SOURCE_DIR "/models/digits_calibration.npz";
  const Outcome outcome = ember(kHighRate + kDigits + labels + " --no-explain --json r.json");
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK_MESSAGE(contains(outcome.out, "Accuracy 82%"), outcome.out);
  CHECK_MESSAGE(contains(outcome.out, "no sample brings a gradient to 38 of 64 channels"), outcome.out);
  const nlohmann::json report = json_file(*this, "r.json");
  CHECK(report["gradient"]["labelled"] == 1347);
  CHECK(report["gradient"]["output"] == "scores");
  for (const auto& layer : report["layers"]) {
    for (const auto& channel : layer["channels"]) {
      // A ReLU that never fires passes no gradient; one that does here always has a reader.
      const bool silent = channel["samples_fired"] == 0;
      CHECK((channel["gradient"]["samples_nonzero"] == 0) == silent);
    }
  }
  const Outcome missing = ember(kHighRate + kDigits + " --labels missing.npy --json other.json");
  CHECK(missing.status == 2);
  CHECK(contains(missing.err, "missing.npy"));
  CHECK_FALSE(exists("other.json"));
}

TEST_CASE_FIXTURE(Shell, "audit: the range of the data is named as the domain") {
  const Outcome outcome = ember(kHighRate + kDigits + " --domain-from-data --time-limit 20");
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(contains(outcome.out, "the range of the data"));
  CHECK(contains(outcome.out, "nothing about inputs beyond"));
}

TEST_CASE_FIXTURE(Shell, "audit: bad domains are refused before anything is run or written") {
  save_domain(*this, "empty.npz", 1.0F, 0.0F);
  const auto refuse = [&](const std::string& arguments, const std::string& word) {
    const Outcome outcome = ember(kHighRate + kDigits + " --json r.json " + arguments);
    CHECK_MESSAGE(outcome.status == 2, arguments);
    CHECK_MESSAGE(contains(outcome.err, word), outcome.err);
    CHECK_FALSE(exists("r.json"));
  };
  refuse("--domain missing.npz", "missing.npz");
  refuse("--domain empty.npz", "the domain is empty");
  refuse("--domain empty.npz --domain-from-data", "domain");
  refuse("--witnesses w.npz", "--domain");
  refuse("--domain-from-data --time-limit -1", "time limit");
}
