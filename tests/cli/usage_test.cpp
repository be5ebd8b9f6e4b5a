#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "command.hpp"

using namespace ember::test;

namespace {

std::vector<std::string> verbs() {
  return {"run", "info", "bench", "ops", "audit", "compare", "merge", "help"};
}

/// The lines under "Example:".
std::vector<std::string> examples_in(const std::string& help) {
  std::vector<std::string> lines;
  std::istringstream text(help.substr(std::min(help.size(), help.find("Example:\n"))));
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("  ember ")) lines.push_back(line.substr(2));
  }
  return lines;
}

}  // namespace

TEST_CASE_FIXTURE(Shell, "cli: help and version go to standard output and succeed") {
  for (const char* arguments : {"--help", "-h", "help", "--version", "run --help", "help run"}) {
    CAPTURE(arguments);
    const Outcome outcome = ember(arguments);
    CHECK(outcome.status == 0);
    CHECK_FALSE(outcome.out.empty());
    CHECK(outcome.err.empty());
  }
  CHECK(ember("--version").out.starts_with("ember "));
  for (const std::string& verb : verbs()) CHECK(contains(ember("--help").out, verb));
}

TEST_CASE_FIXTURE(Shell, "cli: wrong usage is status 2, on standard error") {
  for (const char* arguments :
       {"", "walk", "run", "info", "info a.onnx b.onnx", "run a.onnx --walk", "help walk",
        "bench a.onnx --threads -1", "bench a.onnx --threads two", "bench a.onnx --batch 0",
        "run a.onnx --atol -1", "run a.onnx --disable-pass walk", "bench a.onnx --seconds"}) {
    CAPTURE(arguments);
    const Outcome outcome = ember(arguments);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK_FALSE(outcome.err.empty());
  }
}

TEST_CASE_FIXTURE(Shell, "cli: every verb's example works with the bundled models") {
  std::filesystem::create_directory_symlink(EMBER_SOURCE_DIR "/models", folder / "models");
  for (const std::string& verb : verbs()) {
    CAPTURE(verb);
    const std::vector<std::string> examples = examples_in(ember("help " + verb).out);
    REQUIRE_FALSE(examples.empty());
    REQUIRE(examples.back().starts_with("ember " + verb));
    Outcome outcome;
    for (const std::string& example : examples) {
      outcome = ember(example.substr(std::string("ember ").size()));
      CHECK(outcome.status != 2);
    }
    // Two show a gate that fails.
    const bool fails = verb == "audit" || verb == "compare";
    CHECK_MESSAGE(outcome.status == (fails ? 1 : 0), outcome.err);
    CHECK_FALSE(outcome.out.empty());
  }
  CHECK(exists("scores/scores.npy"));
}

TEST_CASE_FIXTURE(Shell, "cli: output that does not arrive is an error") {
  for (const char* arguments : {"ops", "--version", "help run", "ops --json"}) {
    CAPTURE(arguments);
    if (std::filesystem::exists("/dev/full")) {
      const Outcome full = ember(std::string(arguments) + " >/dev/full");
      CHECK(full.status == 2);
      CHECK(contains(full.err, "standard output"));
    }
    CHECK(ember(std::string(arguments) + " >&-").status == 2);
  }
}

TEST_CASE_FIXTURE(Shell, "cli: ops lists operators as text and as JSON") {
  CHECK(contains(ember("ops").out, "Conv "));
  const auto json = nlohmann::json::parse(ember("ops --json").out);
  CHECK(json.at("schema") == "ember-ops-1");
  CHECK(json.at("operators").size() > 100);
  CHECK(json.at("operators")[0].at("first_opset").is_number());
  CHECK(ember("ops --json ops.json").status == 0);
  CHECK(nlohmann::json::parse(file_text(folder / "ops.json")) == json);
  if (std::filesystem::exists("/dev/full")) CHECK(ember("ops --json /dev/full").status == 2);
}
