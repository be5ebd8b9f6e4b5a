#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <ember/statistics.hpp>

#include "audit/layer_links.hpp"
#include "ops/activation_pattern.hpp"
#include "support/graph_builder.hpp"

using namespace ember;
using auditing::LayerLinks;
using test::GraphBuilder;

namespace {

using Indices = std::vector<std::int64_t>;

std::vector<LayerLinks> links_of(const GraphBuilder& builder) {
  return auditing::link_layers(builder.graph(), ops::find_activations(builder.graph()));
}

}  // namespace

TEST_CASE("a layer's predecessors are the activations that reach it past no other") {
  // x -> a -> b -> (+ a) -> c -> output, and b leaves the network, too
  GraphBuilder net;
  const auto x = net.input("x", DataType::Float32, {1, 4});
  const auto a = net.op("Relu", "a", {x});
  const auto b = net.op("Sigmoid", "b", {net.op("Neg", "n", {a})});
  const auto c = net.op("Tanh", "c", {net.op("Add", "sum", {b, a})});
  net.output(net.op("Neg", "end", {c}));
  net.output(b);
  const std::vector<LayerLinks> links = links_of(net);
  REQUIRE(links.size() == 3);
  CHECK(links[0].predecessors.empty());
  CHECK(links[0].reads_input);
  CHECK_FALSE(links[0].feeds_output);
  CHECK(links[1].predecessors == Indices{0});
  CHECK_FALSE(links[1].reads_input);
  CHECK(links[1].feeds_output);
  CHECK(links[2].predecessors == Indices{0, 1});
  CHECK(links[2].feeds_output);
}

TEST_CASE("an activation of several nodes is one layer, and a shape is no path") {
  GraphBuilder net;
  const auto x = net.input("x", DataType::Float32, {1, 4});
  const auto a = net.op("Relu", "a", {x});
  const auto silu = net.op("Mul", "silu", {a, net.op("Sigmoid", "gate", {a})});
  const auto shaped = net.op("Reshape", "shaped", {x, net.op("Shape", "shape", {silu})});
  net.output(net.op("Relu", "b", {shaped}));
  net.output(silu);
  const std::vector<LayerLinks> links = links_of(net);
  REQUIRE(links.size() == 3);
  CHECK(links[1].predecessors == Indices{0});
  CHECK(links[2].predecessors.empty());
  CHECK(links[2].reads_input);
}

TEST_CASE("a report has the links, and so has one from a statistics file") {
  const std::string models = EMBER_SOURCE_DIR "/models/";
  const auto samples = open_samples(models + "digits_calibration.npz");
  const AuditStatistics statistics =
      gather_statistics(Model::load(models + "digits_cnn.onnx"), *samples, {.samples = 20});
  for (const AuditReport& report :
       {statistics.report(), AuditStatistics::parse(statistics.serialize()).report()}) {
    REQUIRE(report.layers().size() == 6);
    CHECK(report.layers()[0].reads_input);
    CHECK(report.layers()[1].predecessors == Indices{0});
    CHECK(report.layers()[2].predecessors == Indices{0, 1});  // the residual sum
    CHECK(report.layers()[5].feeds_output);
    CHECK_FALSE(report.layers()[4].feeds_output);
  }
}
