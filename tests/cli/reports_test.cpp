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

TEST_CASE_FIXTURE(Shell, "schema: prints a JSON schema") {
  const Outcome outcome = ember("schema");
  CHECK(outcome.status == 0);
  CHECK(nlohmann::json::parse(outcome.out)["$schema"] == "https://json-schema.org/draft/2020-12/schema");
}
