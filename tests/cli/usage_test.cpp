#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "command.hpp"

using namespace ember::test;

namespace {

std::vector<std::string> verbs() { return {"run", "info", "bench", "ops", "audit", "help"}; }

/// The line under "Example:".
std::string example_in(const std::string& help) {
  const std::size_t title = help.find("Example:\n  ");
  if (title == std::string::npos) return {};
  const std::size_t start = title + std::string("Example:\n  ").size();
  return help.substr(start, help.find('\n', start) - start);
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
    const std::string example = example_in(ember("help " + verb).out);
    REQUIRE(example.starts_with("ember " + verb));
    const Outcome outcome = ember(example.substr(std::string("ember ").size()));
    // The audit's example shows a gate that fails.
    CHECK_MESSAGE(outcome.status == (verb == "audit" ? 1 : 0), outcome.err);
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
