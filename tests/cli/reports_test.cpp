#include <cstdlib>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "command.hpp"

using namespace ember::test;

namespace {

const std::string kAudit =
    "audit " EMBER_SOURCE_DIR "/models/digits_mlp_high_lr.onnx --data " EMBER_SOURCE_DIR
    "/models/digits_calibration.npz --samples 200 ";

}  // namespace

TEST_CASE_FIXTURE(Shell, "audit: reports go to files, and --quiet leaves only these and the status") {
  const Outcome outcome =
      ember(kAudit + "--quiet --sarif r.sarif --junit r.xml --html r.html --max-silent 0");
  CHECK(outcome.status == 1);
  CHECK(outcome.out.empty());
  CHECK(contains(outcome.err, "gate failed"));
  CHECK(nlohmann::json::parse(file_text(folder / "r.sarif"))["runs"][0]["results"].size() == 2);
  CHECK(contains(file_text(folder / "r.xml"), "failures=\"2\""));
  CHECK(file_text(folder / "r.html").starts_with("<!doctype html>"));
  const Outcome passed = ember(kAudit + "--junit r.xml --max-silent 50%");
  CHECK(passed.status == 0);
  CHECK(contains(passed.out, "silent"));
  CHECK(contains(file_text(folder / "r.xml"), "failures=\"0\""));
}

TEST_CASE_FIXTURE(Shell, "audit: a report that cannot be written fails before anything is printed") {
  for (const std::string option : {"--sarif", "--junit", "--html"}) {
    const Outcome outcome = ember(kAudit + option + " missing/r");
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK(contains(outcome.err, "missing/r"));
  }
}

TEST_CASE_FIXTURE(Shell, "schema: prints the JSON schema of an audit, or of another document") {
  const auto id = [&](const std::string& document) {
    const Outcome outcome = ember("schema" + document);
    CHECK(outcome.status == 0);
    const auto schema = nlohmann::json::parse(outcome.out);
    CHECK(schema["$schema"] == "https://json-schema.org/draft/2020-12/schema");
    return schema["$id"].get<std::string>();
  };
  CHECK(id("") == "urn:ember:schema:audit-1");
  CHECK(id(" audit") == "urn:ember:schema:audit-1");
  CHECK(id(" comparison") == "urn:ember:schema:comparison-1");
  const Outcome unknown = ember("schema other");
  CHECK(unknown.status == 2);
  CHECK(contains(unknown.err, "other"));
}

TEST_CASE_FIXTURE(Shell, "audit: the text has the terminal's width, and colours where they are wanted") {
  if (std::system("command -v script >/dev/null") != 0) {
    MESSAGE("skipped: no script(1) to make a terminal with");
    return;
  }
  const auto on_terminal = [&](const std::string& settings) {
    return shell(settings + " script -qec \"stty cols 64; '" EMBER_BINARY_DIR "/ember' " + kAudit +
                 "2>/dev/null\" /dev/null")
        .out;
  };
  const std::string colored = on_terminal("TERM=xterm");
  CHECK(contains(colored, "\x1b[31m"));
  CHECK(contains(colored, "samples of"));
  for (const char* settings : {"TERM=dumb", "env -u TERM", "TERM=xterm NO_COLOR=1"}) {
    const std::string plain = on_terminal(settings);
    CHECK(contains(plain, "silent"));
    CHECK_MESSAGE(!contains(plain, "\x1b["), settings);
  }
  CHECK(contains(on_terminal("TERM=xterm NO_COLOR="), "\x1b[31m"));
  CHECK_FALSE(contains(ember(kAudit).out, "\x1b["));
}
