#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/model.hpp>
#include <ember/samples.hpp>
#include <ember/surgery.hpp>

#include "support/zoo.hpp"

using namespace ember;

namespace {

constexpr std::int64_t kSamples = 500;

struct Network {
  std::string name, data;
  Preprocessing preprocessing;
};

const std::vector<Network>& networks() {
  static const std::vector<Network> kNetworks = {
      {"cifar10_resnet20_akamaster",
       "cifar10_2500.npz",
       {.scale = 1.0 / 255.0, .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}}},
      {"eran_mnist_relu_6_100", "mnist5000.npz", {.scale = 1.0 / 255.0}},
      {"eran_mnist_convSmallRELU_PGDK",
       "mnist5000.npz",
       {.scale = 1.0 / 255.0, .mean = {0.1307}, .std = {0.3081}}},
      {"eran_mnist_convSmallRELU_Point",
       "mnist5000.npz",
       {.scale = 1.0 / 255.0, .mean = {0.1307}, .std = {0.3081}}}};
  return kNetworks;
}

/// Calls f(model, samples) for each of them. Does nothing but say so when there is no zoo.
template <class F>
void for_each_network(F&& f) {
  const std::filesystem::path zoo = test::zoo_folder();
  if (zoo.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return;
  }
  for (const Network& network : networks()) {
    CAPTURE(network.name);
    const Model model = Model::load(zoo / "models" / (network.name + ".onnx"));
    const auto samples =
        open_samples(zoo / "data" / network.data, network.preprocessing, model.inputs().front().name);
    f(model, *samples);
  }
}

DataComparison on_data(const Model& before, const Model& after, Samples& samples) {
  const Verification found = verify(before, after, {.calibration = &samples},
                                    {.samples = kSamples, .random_samples = 0, .seconds = 0});
  REQUIRE(found.comparisons.size() == 1);
  return found.comparisons[0];
}

}  // namespace

TEST_CASE("real networks revived compute what they did, and every unit fires on its share") {
  for_each_network([](const Model& model, Samples& samples) {
    for (const ReviveInit init : {ReviveInit::He, ReviveInit::Rai, ReviveInit::Split}) {
      CAPTURE(std::string(to_string(init)));
      const ReviveResult result = revive(model, samples, {.init = init, .samples = kSamples});
      CHECK_FALSE(result.units.empty());
      // Only sums with other branches hold units.
      if (model.name().find("resnet") == std::string::npos) CHECK(result.refusals.empty());
      for (const RevivedUnit& unit : result.units) {
        CAPTURE(unit.node);
        CAPTURE(unit.channel);
        if (init == ReviveInit::Split) CHECK(unit.share > 0.0);
        else CHECK(std::abs(unit.share - 0.3) <= 0.1);
      }
      const DataComparison same = on_data(model, result.model, samples);
      CHECK(same.argmax_changes() == 0);
      CHECK(same.max_relative() < 1e-5);
      MESSAGE(model.name(), " ", std::string(to_string(init)), ": ", result.units.size(), " revived, ",
              result.refusals.size(), " refused, outputs differ by ", same.max_relative());
    }
  });
}

TEST_CASE("real networks whose Relu is swapped for itself by another name compute what they did") {
  for_each_network([](const Model& model, Samples& samples) {
    for (const char* to : {"leaky:0", "prelu:0"}) {
      CAPTURE(to);
      const SwapResult result = swap_activation(model, to);
      CHECK_FALSE(result.layers.empty());
      const DataComparison same = on_data(model, result.model, samples);
      CHECK(same.argmax_changes() == 0);
      CHECK(same.max_relative() < 1e-5);
    }
    const DataComparison other = on_data(model, swap_activation(model, "leaky:0.01").model, samples);
    CHECK(std::isfinite(other.max_absolute()));
    CHECK(other.max_absolute() > 0.0);
    MESSAGE(model.name(), " with leaky:0.01: ", other.argmax_changes(), " of ", kSamples, " argmaxes change");
  });
}

TEST_CASE("real networks pruned answer the same on their data") {
  for_each_network([](const Model& model, Samples& samples) {
    const AuditReport report = audit(model, samples, {.samples = kSamples, .explain = false});
    const PruneResult result = prune(model, report, {.round = 1});
    CHECK(result.removed.size() + result.kept.size() > 0);
    const DataComparison same = on_data(model, result.model, samples);
    CHECK(same.argmax_changes() == 0);
    CHECK(same.max_relative() < 1e-5);
  });
}
