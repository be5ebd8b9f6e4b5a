#include "audit/raise_effect.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <ember/session.hpp>

#include "plan/specialize.hpp"
#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using namespace ember::auditing;
using graph::ValueId;
using test::GraphBuilder;

namespace {

const Shape kShape{1, 4, 6, 7};

Tensor positive(const Shape& shape, unsigned seed) {
  Tensor result = test::random_tensor(shape, seed);
  for (float& x : result.data<float>()) x = std::abs(x) + 0.1F;
  return result;
}

/// What is added to the input, by channel.
Tensor addition() {
  Tensor result(DataType::Float32, {1, 4, 1, 1});
  result.data<float>()[1] = 0.7F;
  result.data<float>()[2] = 1.6F;
  return result;
}

std::optional<std::vector<Raise>> effect(const graph::Graph& graph) {
  const auto facts = plan::specialize(graph, {{"x", kShape}}).facts;
  const ShapedNetwork network{graph, facts};
  std::vector<TwinGraph::Addition> additions;
  additions.push_back({graph.inputs[0], addition()});
  return effect_of(network, graph.order(), additions, graph.outputs[0]);
}

/// The effect is what the network itself shows when its input is raised.
void check(const graph::Graph& graph, bool even) {
  const auto found = effect(graph);
  REQUIRE(found.has_value());
  const Tensor plain = test::random_tensor(kShape, 9);
  Tensor raised(plain);
  for (std::size_t i = 0; i < raised.data<float>().size(); ++i)
    raised.data<float>()[i] += addition().data<float>()[i / 42];
  Session session(Model(std::make_shared<const graph::Graph>(graph)), {.threads = 1});
  const std::string& name = graph.value(graph.outputs[0]).name;
  const Tensor before = session.run({{"x", plain}}).at(name);
  const Tensor after = session.run({{"x", raised}}).at(name);
  const Shape& shape = before.shape();
  const auto each = static_cast<std::size_t>(shape.elements(2, shape.rank()));
  REQUIRE(static_cast<std::int64_t>(found->size()) == shape[1]);
  for (std::size_t c = 0; c < found->size(); ++c) {
    CAPTURE(c);
    double low = INFINITY;
    double high = -INFINITY;
    for (std::size_t i = c * each; i < (c + 1) * each; ++i) {
      const double more = static_cast<double>(after.data<float>()[i]) - before.data<float>()[i];
      low = std::min(low, more);
      high = std::max(high, more);
    }
    CHECK((*found)[c].low == doctest::Approx(low).epsilon(1e-3));
    CHECK((*found)[c].high == doctest::Approx(high).epsilon(1e-3));
    if (even) CHECK((*found)[c].even());
  }
}

GraphBuilder::Attributes window(std::int64_t pad, std::int64_t stride, std::int64_t dilation = 1,
                                std::int64_t groups = 1) {
  return {{"pads", std::vector<std::int64_t>{pad, pad, pad, pad}},
          {"strides", std::vector<std::int64_t>{stride, stride}},
          {"dilations", std::vector<std::int64_t>{dilation, dilation}},
          {"group", groups}};
}

}  // namespace

TEST_CASE("raised channels add a constant through what mixes channels but not positions") {
  GraphBuilder g;
  const ValueId x = g.input("x", DataType::Float32, {1, 4, 6, 7});
  const ValueId y = g.op("Conv", "y", {x, g.constant("w", test::random_tensor({4, 4, 1, 1}, 1))});
  const ValueId n = g.op(
      "BatchNormalization", "n",
      {y, g.constant("gamma", test::random_tensor({4}, 2)), g.constant("beta", test::random_tensor({4}, 3)),
       g.constant("mean", test::random_tensor({4}, 4)), g.constant("var", positive({4}, 5))});
  const ValueId s =
      g.op("Sub", "s", {g.op("Add", "a", {n, x}), g.constant("c", test::random_tensor({4, 1, 1}, 6))});
  const ValueId d = g.op("Div", "d", {s, g.constant("e", positive({1, 4, 1, 1}, 7))});
  const ValueId m = g.op("MaxPool", "m", {d}, {{"kernel_shape", std::vector<std::int64_t>{2, 2}}});
  SUBCASE("to a feature map") {
    g.output(m);
    check(g.graph(), true);
  }
  SUBCASE("to a matrix") {
    const ValueId flat = g.op("Flatten", "flat", {m});
    g.output(g.op("Gemm", "p", {flat, g.constant("v", test::random_tensor({5, 120}, 8))},
                  {{"transB", std::int64_t{1}}, {"alpha", 0.5F}}));
    check(g.graph(), true);
  }
}

TEST_CASE("at the borders of a convolution less is added") {
  for (const auto& attributes : {window(1, 1), window(1, 2), window(2, 1, 2), window(3, 3), window(0, 1)}) {
    GraphBuilder g;
    const ValueId x = g.input("x", DataType::Float32, {1, 4, 6, 7});
    g.output(g.op("Conv", "y", {x, g.constant("w", test::random_tensor({5, 4, 3, 3}, 1))}, attributes));
    check(g.graph(), false);
  }
  GraphBuilder g;
  const ValueId x = g.input("x", DataType::Float32, {1, 4, 6, 7});
  const ValueId y =
      g.op("Conv", "y", {x, g.constant("w", test::random_tensor({4, 1, 3, 3}, 1))}, window(1, 1, 1, 4));
  g.output(g.op("Mul", "n", {y, g.constant("f", Tensor::scalar(-2.0F))}));
  check(g.graph(), false);
}

TEST_CASE("what borders leave uneven is not followed through another window, nor anything through a curve") {
  for (const char* op : {"Conv", "MaxPool", "Tanh"}) {
    CAPTURE(op);
    GraphBuilder g;
    ValueId y = g.input("x", DataType::Float32, {1, 4, 6, 7});
    if (std::string(op) != "Tanh")
      y = g.op("Conv", "y", {y, g.constant("w", test::random_tensor({4, 4, 3, 3}, 1))}, window(1, 1));
    if (std::string(op) == "Conv")
      g.output(g.op(op, "z", {y, g.constant("v", test::random_tensor({4, 4, 1, 1}, 2))}));
    else if (std::string(op) == "Tanh") g.output(g.op(op, "z", {y}));
    else g.output(g.op(op, "z", {y}, {{"kernel_shape", std::vector<std::int64_t>{2, 2}}}));
    CHECK(!effect(g.graph()).has_value());
  }
}
