#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <ember/audit.hpp>
#include <ember/prune.hpp>
#include <ember/verification.hpp>

#include "support/memory_samples.hpp"
#include "surgery/linearize.hpp"
#include "surgery/pruning.hpp"

using namespace ember;
using namespace ember::test;

namespace {

using Indices = std::vector<std::int64_t>;

Indices range(std::int64_t end) {
  Indices list(static_cast<std::size_t>(end));
  std::iota(list.begin(), list.end(), 0);
  return list;
}

/// x -> units -> Relu -> outputs, with biases so high for the units in `on` that they never clip for |x|
/// <= 2.
struct Net {
  NetBuilder net;
  graph::ValueId hidden;

  Net(std::int64_t inputs, std::int64_t units, std::int64_t outputs, const Indices& on, bool gemm) {
    const auto x = net.input("x", DataType::Float32, {2, inputs});
    Tensor bias = random_tensor(Shape{units}, 5, -0.5F, 0.5F);
    for (const std::int64_t unit : on) bias.data<float>()[static_cast<std::size_t>(unit)] += 20.0F;
    graph::ValueId y = graph::kNoValue;
    if (gemm) {
      const auto h = net.op("Gemm", "h",
                            {x, net.constant("h.w", random_tensor(Shape{units, inputs}, 1, -0.5F, 0.5F)),
                             net.constant("h.b", bias)},
                            {{"transB", std::int64_t{1}}, {"alpha", 0.5F}});
      hidden = net.relu(h);
      y = net.op("Gemm", "y",
                 {hidden, net.constant("y.w", random_tensor(Shape{units, outputs}, 2)),
                  net.constant("y.b", random_tensor(Shape{outputs}, 3))},
                 {{"beta", 2.0F}});
    } else {
      const auto h = net.op("MatMul", "h",
                            {x, net.constant("h.w", random_tensor(Shape{inputs, units}, 1, -0.5F, 0.5F))});
      hidden = net.relu(net.op("Add", "h.sum", {h, net.constant("h.b", bias)}));
      y = net.op("MatMul", "y", {hidden, net.constant("y.w", random_tensor(Shape{units, outputs}, 2))});
    }
    net.output(y);
  }
};

}  // namespace

TEST_CASE("linearize: a layer that never clips goes into the product behind it, when that is less work") {
  for (const bool gemm : {true, false}) {
    CAPTURE(gemm);
    const Net n(6, 9, 4, range(9), gemm);
    const auto result =
        surgery::linearize(n.net.graph(), {{.value = n.hidden, .axis = 1, .units = range(9)}});
    REQUIRE(result.layers.size() == 1);
    CHECK(result.layers[0].merged);
    CHECK(result.layers[0].saved == 9 * 10 - 24);
    CHECK(result.graph->order().size() == (gemm ? 1 : 2));
    check_same(n.net.graph(), *result.graph, 4);
  }
  const Net wide(20, 3, 20, range(3), true);
  const auto kept =
      surgery::linearize(wide.net.graph(), {{.value = wide.hidden, .axis = 1, .units = range(3)}});
  CHECK(kept.layers[0].gone.empty());
  CHECK(kept.layers[0].refusal == "one product would take 400 multiplications, the two take 120");
  check_same(wide.net.graph(), *kept.graph, 1, true);
}

TEST_CASE("linearize: units whose weights depend on others' are taken over by these") {
  for (const bool gemm : {true, false}) {
    CAPTURE(gemm);
    const Indices on = {0, 1, 3, 4, 6, 8, 9};
    const Net n(4, 10, 5, on, gemm);  // 7 stably active units of 4 inputs: rank 4
    const auto result = surgery::linearize(n.net.graph(), {{.value = n.hidden, .axis = 1, .units = on}});
    CHECK_FALSE(result.layers[0].merged);
    CHECK(result.layers[0].gone.size() == 3);
    for (const std::int64_t unit : result.layers[0].gone) CHECK(std::ranges::find(on, unit) != on.end());
    CHECK(result.layers[0].saved == 3 * 9);
    CHECK(shape_of(*result.graph, "h.w") == (gemm ? Shape{7, 4} : Shape{4, 7}));
    CHECK(shape_of(*result.graph, "y.w") == Shape{7, 5});
    check_same(n.net.graph(), *result.graph, 4);
  }
}

TEST_CASE("linearize: what is not between two products of its own, or independent, stays") {
  const Net n(8, 10, 5, {0, 1, 2}, true);
  const auto independent =
      surgery::linearize(n.net.graph(), {{.value = n.hidden, .axis = 1, .units = {0, 1, 2}}});
  CHECK(independent.layers[0].refusal.find("do not depend on each other") != std::string::npos);
  Net seen(4, 10, 5, range(10), true);
  seen.net.output(seen.hidden);
  const auto exposed =
      surgery::linearize(seen.net.graph(), {{.value = seen.hidden, .axis = 1, .units = range(10)}});
  CHECK(exposed.layers[0].refusal.find("not between two matrix products") != std::string::npos);
  check_same(seen.net.graph(), *exposed.graph, 1, true);
}

TEST_CASE("linearize: one layer after the other, down to one product") {
  NetBuilder net;
  const auto x = net.input("x", DataType::Float32, {3, 5});
  const auto layer = [&](const std::string& name, graph::ValueId from, std::int64_t in, std::int64_t out) {
    Tensor bias = random_tensor(Shape{out}, 7, 60.0F, 70.0F);
    return net.relu(net.op("Gemm", name,
                           {from, net.constant(name + ".w", random_tensor(Shape{in, out}, 8, -0.2F, 0.2F)),
                            net.constant(name + ".b", std::move(bias))}));
  };
  const auto a = layer("a", x, 5, 8);
  const auto b = layer("b", a, 8, 8);
  net.output(net.op("Gemm", "y", {b, net.constant("y.w", random_tensor(Shape{8, 2}, 9))}));
  const auto result = surgery::linearize(
      net.graph(), {{.value = a, .axis = 1, .units = range(8)}, {.value = b, .axis = 1, .units = range(8)}});
  CHECK(result.layers[0].merged);
  CHECK(result.layers[1].merged);
  CHECK(result.graph->order().size() == 1);
  check_same(net.graph(), *result.graph, 4);
}

TEST_CASE("linearize: a Leaky ReLU is linear on its other side, too") {
  NetBuilder net;
  const auto x = net.input("x", DataType::Float32, {2, 3});
  Tensor bias = random_tensor(Shape{7}, 5, -0.5F, 0.5F);
  for (const std::size_t unit : {0U, 2U, 3U, 6U}) bias.data<float>()[unit] += unit == 2 ? 20.0F : -20.0F;
  const auto h =
      net.op("Gemm", "h",
             {x, net.constant("h.w", random_tensor(Shape{7, 3}, 1, -0.5F, 0.5F)), net.constant("h.b", bias)},
             {{"transB", std::int64_t{1}}});
  const auto hidden = net.op("LeakyRelu", "leaky", {h}, {{"alpha", 0.1F}});
  net.output(net.op("Gemm", "y", {hidden, net.constant("y.w", random_tensor(Shape{7, 4}, 2))}));
  const auto result = surgery::linearize(
      net.graph(), {{.value = hidden, .axis = 1, .units = {0, 2, 3, 6}, .slopes = {0.1, 1.0, 0.1, 0.1}}});
  CHECK(result.layers[0].gone.size() == 1);
  check_same(net.graph(), *result.graph, 4);
}

TEST_CASE("prune: stably active units by the report, with the books kept in the model as it was") {
  // Unit 1 is dead; of the others four never clip, which is one more than there are inputs.
  NetBuilder net;
  const auto x = net.input("x", DataType::Float32, {-1, 3});
  Tensor bias = random_tensor(Shape{7}, 5, -0.2F, 0.2F);
  bias.data<float>()[1] = -50.0F;
  for (const std::size_t unit : {2U, 3U, 5U, 6U}) bias.data<float>()[unit] = 20.0F;
  const auto h =
      net.op("Gemm", "h", {x, net.constant("h.w", random_tensor(Shape{7, 3}, 1)), net.constant("h.b", bias)},
             {{"transB", std::int64_t{1}}});
  net.output(net.op("Gemm", "y", {net.relu(h), net.constant("y.w", random_tensor(Shape{7, 4}, 2))}));
  const Model model = net.model();
  MemorySamples samples(random_tensor(Shape{64, 3}, 11));
  const AuditReport report = audit(model, samples, {.explain = false});
  const PruneResult result = prune(model, report, {.round = 1, .linearize = true});
  CHECK(result.removed.size() == 1);
  REQUIRE(result.linearized.size() == 1);
  const LinearizedLayer& layer = result.linearized[0];
  CHECK(layer.active == 4);
  CHECK(layer.proved == 0);
  CHECK_FALSE(layer.merged);
  REQUIRE(layer.gone.size() == 1);
  CHECK(layer.gone[0] >= 2);
  CHECK(layer.saved == 7);
  for (const ChannelMap& map : result.map) {
    CAPTURE(map.tensor);
    CHECK(map.before == 7);
    CHECK(map.kept.size() == 5);
    CHECK(std::ranges::find(map.kept, layer.gone[0]) == map.kept.end());
    CHECK(std::ranges::find(map.kept, 1) == map.kept.end());
  }
  const Verification same =
      verify(model, result.model, {.calibration = &samples}, {.random_samples = 0, .seconds = 0});
  CHECK(same.comparisons[0].max_relative() < 1e-5);
  CHECK(to_text(result).find("the others take over") != std::string::npos);
  CHECK(to_json(result).find("\"linearized\"") != std::string::npos);
  CHECK_THROWS_AS(prune(model, {.linearize = true}), Error);
}
