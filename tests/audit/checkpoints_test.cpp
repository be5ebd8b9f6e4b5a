#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/checkpoints.hpp>

#include "support/edited_model.hpp"

using namespace ember;

namespace {

const std::filesystem::path kModels = std::filesystem::path(EMBER_SOURCE_DIR) / "models";

Model bundled(const std::string& name) { return Model::load(kModels / (name + ".onnx")); }

Checkpoints follow_models(const std::vector<Model>& models) {
  const auto samples = open_samples(kModels / "digits_calibration.npz");
  return follow(models, *samples);
}

std::int64_t died_at(const Checkpoints& c, int checkpoint) {
  return std::ranges::count(c.deaths, checkpoint, &Death::first_silent);
}

}  // namespace

TEST_CASE("deaths by too high a learning rate are dated to their interval and named so") {
  std::vector<Model> models;
  for (const char* step :
       {"_step000", "_step008", "_step016", "_step032", "_step064", "_step128", "_step256", ""}) {
    models.push_back(bundled(std::string("digits_mlp_high_lr") + step));
  }
  const Checkpoints result = follow_models(models);
  REQUIRE(result.reports.size() == 8);
  // What dies and wakes adds up to what is silent at each checkpoint.
  std::int64_t silent = 0;
  for (int k = 0; k < 8; ++k) {
    silent += died_at(result, k) - std::ranges::count(result.births, k, &Birth::first_fired);
    CHECK(result.reports[static_cast<std::size_t>(k)].count(Verdict::Silent) == silent);
  }
  CHECK(died_at(result, 0) == 0);
  CHECK(result.count(DeathCause::BornDead) == 0);
  CHECK(4 * result.count(DeathCause::LearningRate) >= 3 * static_cast<std::int64_t>(result.deaths.size()));
  for (const Death& death : result.deaths) {
    CHECK(death.last_fired == death.first_silent - 1);
    CHECK(death.source != DeathSource::Untested);
    // Nothing lies before the first layer but the data.
    if (death.layer == 0) CHECK(death.fired_new_on_old == 0);
  }
  const auto json = nlohmann::json::parse(to_json(result));
  CHECK(json["deaths"].size() == result.deaths.size());
  CHECK(json["checkpoints"].size() == 8);
  CHECK(to_text(result).find("learning_rate") != std::string::npos);
}

TEST_CASE("channels that start with a negative bias are born dead, not killed by the learning rate") {
  const Checkpoints result =
      follow_models({bundled("digits_cnn_dead_bias"), bundled("digits_cnn_dead_bias")});
  CHECK(result.deaths.size() == 32);
  CHECK(result.count(DeathCause::BornDead) == 32);
  CHECK(to_text(result).find("learning_rate") == std::string::npos);
}

TEST_CASE("a channel killed alone by its own bias jumps out of its layer") {
  const Model before = bundled("digits_mlp");
  const Model after = test::with_dead_channel(before, 5);
  const Checkpoints result = follow_models({before, before, after, before});
  REQUIRE(result.deaths.size() == 1);
  const Death& death = result.deaths[0];
  CHECK(death.layer == 0);
  CHECK(death.channel == 5);
  CHECK(death.last_fired == 1);
  CHECK(death.first_silent == 2);
  CHECK_FALSE(death.lasting);
  CHECK(death.cause == DeathCause::LearningRate);
  CHECK(death.source == DeathSource::Own);
  CHECK(death.jump > 10.0);
  CHECK(death.mates_jump == 0.0);
  REQUIRE(result.births.size() == 1);
  CHECK(result.births[0].first_fired == 3);
}

TEST_CASE("what are not checkpoints of one network is refused") {
  CHECK_THROWS_AS((void)follow_models({bundled("digits_mlp")}), Error);
  CHECK_THROWS_WITH_AS((void)follow_models({bundled("digits_mlp"), bundled("digits_cnn")}),
                       doctest::Contains("not checkpoints of one network"), Error);
}
