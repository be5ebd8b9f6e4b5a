#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/file.hpp>
#include <ember/model.hpp>

#include "command.hpp"
#include "support/edited_model.hpp"

using namespace ember;
using namespace ember::test;

namespace {

const std::string kModels = EMBER_SOURCE_DIR "/models/";

struct Compare : Shell {
  [[nodiscard]] Outcome audit(const std::string& model, const std::string& arguments) const {
    return ember("audit " + model + " --data " + kModels + "digits_calibration.npz --samples 300 " +
                 arguments);
  }
};

}  // namespace

TEST_CASE_FIXTURE(Compare, "compare: names what changed between two audits, and fails when something died") {
  REQUIRE(audit(kModels + "digits_cnn.onnx", "--quiet --json healthy.json").status == 0);
  REQUIRE(audit(kModels + "digits_cnn_dead_bias.onnx", "--quiet --json dying.json").status == 0);
  const Outcome worse = ember("compare healthy.json dying.json");
  CHECK(worse.status == 1);
  CHECK(contains(worse.out, "/dense/dense.2/Relu"));
  CHECK(contains(worse.out, "healthy → silent: 0, 2, 4"));
  const Outcome better = ember("compare dying.json healthy.json --json");
  CHECK(better.status == 0);
  const auto json = nlohmann::json::parse(better.out);
  CHECK(json["schema"] == "ember-comparison-1");
  CHECK(json["summary"]["recovered"].get<int>() >= 32);
  CHECK(ember("compare dying.json dying.json --json same.json").status == 0);
  CHECK(nlohmann::json::parse(file_text(folder / "same.json"))["summary"]["newly_unhealthy"] == 0);
}

TEST_CASE_FIXTURE(Compare, "compare: what is no report is refused") {
  REQUIRE(audit(kModels + "digits_mlp.onnx", "--quiet --json a.json").status == 0);
  write_file(folder / "b.json", std::string_view("{\"schema\": \"ember-audit-1\"}"));
  const Outcome broken = ember("compare a.json b.json");
  CHECK(broken.status == 2);
  CHECK(broken.out.empty());
  CHECK(contains(broken.err, "'b.json' is not an audit report: model is missing"));
  CHECK(ember("compare a.json none.json").status == 2);
  CHECK(ember("compare a.json").status == 2);
}

TEST_CASE_FIXTURE(Compare, "baseline: fails only on what is newly unhealthy, and can be refreshed") {
  const Model model = Model::load(kModels + "digits_mlp_high_lr.onnx");
  const std::string unchanged = "renamed.onnx";
  const std::string worse = "worse.onnx";
  renamed(model).save(folder / unchanged);
  with_dead_channel(renamed(model), 0).save(folder / worse);
  const std::string gate = "--quiet --baseline base.json ";

  const Outcome missing = audit(unchanged, gate);
  CHECK(missing.status == 2);
  CHECK(contains(missing.err, "--update-baseline"));
  REQUIRE(audit(kModels + "digits_mlp_high_lr.onnx", gate + "--update-baseline").status == 0);
  CHECK(audit(kModels + "digits_mlp_high_lr.onnx", gate).status == 0);  // 41 silent channels, all known
  CHECK(audit(unchanged, gate).status == 0);

  const Outcome failed = audit(worse, "--baseline base.json --junit r.xml");
  CHECK(failed.status == 1);
  // Its death may starve channels that read it; those count as well.
  CHECK(contains(failed.err, "not in the baseline 'base.json'"));
  CHECK(contains(failed.out, "healthy → silent: 0"));
  CHECK(contains(file_text(folder / "r.xml"), "<failure message=\""));
  CHECK(audit(worse, gate).status == 1);  // a failed gate leaves the baseline alone
  CHECK(audit(worse, gate + "--update-baseline").status == 0);
  CHECK(audit(worse, gate).status == 0);

  CHECK(audit(unchanged, "--update-baseline").status == 2);
  write_file(folder / "base.json", std::string_view("rubbish"));
  CHECK(contains(audit(unchanged, gate).err, "'base.json' is not valid JSON"));
}
