#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/checkpoints.hpp>

#include "support/edited_model.hpp"
#include "support/graph_builder.hpp"
#include "support/memory_samples.hpp"
#include "support/random_tensor.hpp"
#include "support/tensor_of.hpp"

using namespace ember;
using test::tensor_of;

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

namespace {

/// What training moves in the networks below.
struct Step {
  float first_weight = 1.0F;  ///< of the channel of the first layer that the second layer's channel 0 reads
  float bias = 0.0F;          ///< of channel 0 of the second layer
  float mates = 0.0F;         ///< how far the weights of its mates have moved, some more and some less
};

/// Two layers over one input in [0, 1): relu(first_weight · x), then channel 0 reads that and its bias, and
/// six mates fire whatever happens.
Model trained(const Step& step) {
  test::GraphBuilder b;
  const graph::ValueId x = b.input("x", DataType::Float32, {-1, 1});
  const graph::ValueId h = b.op("Relu", "h",
                                {b.op("Gemm", "h_z",
                                      {x, b.constant("hw", tensor_of<float>({1, 1}, {step.first_weight})),
                                       b.constant("hb", tensor_of<float>({1}, {0.0F}))})});
  std::vector<float> weights = {1.0F}, bias = {step.bias};
  for (int mate = 1; mate <= 6; ++mate) {
    weights.push_back(1.0F + static_cast<float>(mate) * step.mates);
    bias.push_back(1.0F);
  }
  const graph::ValueId z = b.op("Gemm", "y_z",
                                {h, b.constant("yw", tensor_of<float>({1, 7}, weights)),
                                 b.constant("yb", tensor_of<float>({7}, bias))});
  b.output(b.op("Relu", "y", {z}));
  return Model(std::make_shared<const graph::Graph>(b.graph()));
}

Checkpoints follow_steps(const std::vector<Step>& steps) {
  std::vector<Model> models;
  for (const Step& step : steps) models.push_back(trained(step));
  Tensor data = test::random_tensor({200, 1}, 1, 0.0F, 1.0F);
  test::MemorySamples samples(std::move(data));
  return follow(models, samples);
}

}  // namespace

TEST_CASE("planted deaths over checkpoints are named for what killed") {
  const auto only_death = [](const std::vector<Step>& steps) {
    const Checkpoints result = follow_steps(steps);
    REQUIRE(result.deaths.size() == 1);
    CHECK(result.deaths[0].node == "y_node");
    CHECK(result.deaths[0].channel == 0);
    CHECK(result.deaths[0].first_silent == static_cast<int>(steps.size()) - 1);
    return result.deaths[0];
  };
  // Its bias sinks a little each time, while its mates move about as much.
  const Death declined = only_death({{.bias = -0.1F},
                                     {.bias = -0.4F, .mates = 0.06F},
                                     {.bias = -0.7F, .mates = 0.12F},
                                     {.bias = -0.9F, .mates = 0.18F},
                                     {.bias = -1.1F, .mates = 0.24F}});
  CHECK(std::string(to_string(declined.cause)) == "decline");
  CHECK(declined.source == DeathSource::Own);
  // The same last step, after which nothing had sunk before.
  const Death own = only_death({{.bias = -0.9F}, {.bias = -1.1F, .mates = 0.06F}});
  CHECK(std::string(to_string(own.cause)) == "own");
  CHECK(own.source == DeathSource::Own);
  // A leap.
  const Death leapt =
      only_death({{.bias = -0.1F}, {.bias = -0.1F, .mates = 0.01F}, {.bias = -8.0F, .mates = 0.02F}});
  CHECK(std::string(to_string(leapt.cause)) == "learning_rate");
  CHECK(leapt.jump_z > 3.5);
  // What it reads shrinks; its own parameters stay.
  const Death starved = only_death({{.bias = -0.5F}, {.first_weight = 0.4F, .bias = -0.5F, .mates = 0.06F}});
  CHECK(std::string(to_string(starved.cause)) == "upstream");
  CHECK(starved.source == DeathSource::Upstream);
  CHECK(starved.fired_new_on_old > 0);
  CHECK(starved.fired_old_on_new == 0);
}

TEST_CASE("what are not checkpoints of one network is refused") {
  CHECK_THROWS_AS((void)follow_models({bundled("digits_mlp")}), Error);
  CHECK_THROWS_WITH_AS((void)follow_models({bundled("digits_mlp"), bundled("digits_cnn")}),
                       doctest::Contains("not checkpoints of one network"), Error);
}
