#include <string>

#include <doctest/doctest.h>

#include <ember/audit.hpp>

#include "support/zoo.hpp"

using namespace ember;

namespace {

/// Audits a zoo network on a zoo data set. Does nothing but say so when there is no zoo.
void check_silent(const std::string& name, const std::string& data, const Preprocessing& preprocessing,
                  std::int64_t samples, std::int64_t channels, std::int64_t silent, std::int64_t slack) {
  const std::filesystem::path zoo = test::zoo_folder();
  if (zoo.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return;
  }
  const Model model = Model::load(zoo / "models" / (name + ".onnx"));
  const auto source = open_samples(zoo / "data" / data, preprocessing, model.inputs().front().name);
  AuditOptions options;
  options.threads = 0;
  const AuditReport report = audit(model, *source, options);
  CHECK(report.samples == samples);
  CHECK(report.samples_not_finite == 0);
  CHECK(report.channels() == channels);
  const std::int64_t found = report.count(Verdict::Silent);
  CHECK(found >= silent - slack);
  CHECK(found <= silent + slack);
}

}  // namespace

// The counts were measured with another engine that exposed the activations; where several channels come
// close to 0 rounding may move one.

TEST_CASE("CIFAR ResNet-20 has 17 silent channels of 688 on 2,500 images") {
  check_silent("cifar10_resnet20_akamaster", "cifar10_2500.npz",
               {.scale = 1.0 / 255.0, .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}}, 2500, 688,
               17, 1);
}

TEST_CASE("a PGD-trained MNIST ConvNet has 18 silent channels of 148 on 5,000 digits") {
  check_silent("eran_mnist_convSmallRELU_PGDK", "mnist5000.npz",
               {.scale = 1.0 / 255.0, .mean = {0.1307}, .std = {0.3081}}, 5000, 148, 18, 1);
}

TEST_CASE("an MNIST network of six dense layers has 1 silent channel of 510 on 5,000 digits") {
  check_silent("eran_mnist_relu_6_100", "mnist5000.npz", {.scale = 1.0 / 255.0}, 5000, 510, 1, 0);
}
