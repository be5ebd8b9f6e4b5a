#include "audit/gradient.hpp"

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using auditing::Gradient;
using graph::ValueId;
using test::GraphBuilder;

namespace {

Tensor ints(const std::vector<std::int64_t>& values) {
  return {Shape{static_cast<std::int64_t>(values.size())}, values};
}

/// Compares the gradient of Σ weights · y with differences of the engine's own results, in some directions.
void check_against_differences(const GraphBuilder& builder, const Shape& shape, double tolerance = 2e-2) {
  const Model model(std::make_shared<const graph::Graph>(builder.graph()));
  Gradient gradient(model, {{"x", shape}});
  Session session(model, {.input_shapes = {{"x", shape}}});
  const Tensor x = test::random_tensor(shape, 7);
  gradient.input("x").copy_from(x.data<float>());
  gradient.run();
  const std::string y = builder.graph().value(builder.graph().outputs[0]).name;
  const int output = gradient.formulas().find(y);
  REQUIRE(output >= 0);
  std::vector<double> weights;
  const Tensor random = test::random_tensor({gradient.formulas().variable(output).size()}, 8, 0.5F, 1.0F);
  for (const float w : random.data<float>()) weights.push_back(double{w});
  gradient.backward(std::vector{Gradient::Seed{output, weights}});
  CHECK(gradient.stopped_at().empty());
  const auto dx = gradient.gradient(gradient.formulas().find("x"));
  REQUIRE(dx.size() == x.data<float>().size());
  const auto objective = [&](const Tensor& at) {
    const Tensor result = session.run({{"x", at}}).begin()->second;
    double sum = 0.0;
    for (std::size_t i = 0; i < weights.size(); ++i) sum += weights[i] * double{result.data<float>()[i]};
    return sum;
  };
  for (std::uint64_t direction = 0; direction < 6; ++direction) {
    const Tensor d = test::random_tensor(shape, 100 + direction);
    constexpr float kStep = 2e-3F;
    Tensor ahead = x, behind = x;
    double expected = 0.0, size = 0.0;
    for (std::size_t i = 0; i < dx.size(); ++i) {
      ahead.data<float>()[i] += kStep * d.data<float>()[i];
      behind.data<float>()[i] -= kStep * d.data<float>()[i];
      expected += dx[i] * double{d.data<float>()[i]};
      size += std::abs(dx[i]);
    }
    const double difference = (objective(ahead) - objective(behind)) / (2.0 * double{kStep});
    CHECK_MESSAGE(std::abs(difference - expected) <= tolerance * (std::abs(expected) + 0.05 * size + 0.05),
                  "got ", expected, ", differences say ", difference);
  }
}

ValueId weights(GraphBuilder& b, const std::string& name, const Shape& shape, std::uint64_t seed) {
  return b.constant(name, test::random_tensor(shape, seed));
}

}  // namespace

TEST_CASE("gradients of operators agree with differences") {
  using Build = std::function<ValueId(GraphBuilder&, ValueId)>;
  const auto attribute = [](std::vector<std::int64_t> v) { return graph::Attribute(std::move(v)); };
  const std::vector<std::pair<std::string, Build>> cases = {
      {"Conv, stride and pads",
       [&](GraphBuilder& b, ValueId x) {
         return b.op("Conv", "y", {x, weights(b, "w", {6, 4, 3, 3}, 1), weights(b, "c", {6}, 2)},
                     {{"strides", attribute({2, 1})}, {"pads", attribute({1, 0, 1, 2})}});
       }},
      {"depthwise Conv",
       [&](GraphBuilder& b, ValueId x) {
         return b.op("Conv", "y", {x, weights(b, "w", {4, 1, 3, 3}, 1)}, {{"group", std::int64_t{4}}});
       }},
      {"ConvTranspose",
       [&](GraphBuilder& b, ValueId x) {
         return b.op("ConvTranspose", "y", {x, weights(b, "w", {4, 3, 3, 3}, 1)},
                     {{"strides", attribute({2, 2})}, {"pads", attribute({1, 1, 0, 0})}});
       }},
      {"BatchNormalization",
       [&](GraphBuilder& b, ValueId x) {
         return b.op("BatchNormalization", "y",
                     {x, weights(b, "s", {4}, 1), weights(b, "b", {4}, 2), weights(b, "m", {4}, 3),
                      b.constant("v", test::random_tensor({4}, 4, 0.5F, 2.0F))});
       }},
      {"pools and a residual",
       [&](GraphBuilder& b, ValueId x) {
         const auto kernel = attribute({2, 2});
         const ValueId p = b.op("MaxPool", "p", {x}, {{"kernel_shape", kernel}, {"strides", kernel}});
         const ValueId q = b.op("AveragePool", "q", {x}, {{"kernel_shape", kernel}, {"strides", kernel}});
         return b.op("Add", "y", {p, q});
       }},
      {"dense behind Flatten",
       [&](GraphBuilder& b, ValueId x) {
         const ValueId f = b.op("Flatten", "f", {x});
         return b.op("Gemm", "y", {f, weights(b, "w", {5, 144}, 1), weights(b, "c", {5}, 2)},
                     {{"transB", std::int64_t{1}}, {"alpha", 0.5F}});
       }},
      {"squeeze and excite",
       [&](GraphBuilder& b, ValueId x) {
         const ValueId g = b.op("GlobalAveragePool", "g", {x});
         return b.op("Mul", "y", {x, b.op("Sigmoid", "s", {g})});
       }},
      {"attention of a sort",
       [&](GraphBuilder& b, ValueId x) {
         const ValueId t = b.op("Transpose", "t", {x}, {{"perm", attribute({0, 1, 3, 2})}});
         const ValueId s = b.op("Softmax", "s", {b.op("MatMul", "m", {x, t})}, {{"axis", std::int64_t{-1}}});
         return b.op("MatMul", "y", {s, x});
       }},
      {"moving elements",
       [&](GraphBuilder& b, ValueId x) {
         const ValueId s = b.op(
             "Slice", "s",
             {x, b.constant("from", ints({1})), b.constant("to", ints({4})), b.constant("axes", ints({2}))});
         const ValueId p = b.op("Pad", "p", {s, b.constant("pads", ints({0, 0, 1, 0, 0, 0, 2, 0}))});
         const ValueId c = b.op("Concat", "c", {x, p}, {{"axis", std::int64_t{1}}});
         return b.op("Reshape", "y", {c, b.constant("shape", ints({2, -1}))});
       }},
      {"quotient and reductions",
       [&](GraphBuilder& b, ValueId x) {
         const ValueId e = b.op("Exp", "e", {x});
         const ValueId s = b.op("ReduceSum", "s", {e, b.constant("axes", ints({1}))});
         return b.op("ReduceMean", "y", {b.op("Div", "d", {e, s})}, {{"axes", attribute({3})}});
       }},
      {"LayerNormalization",
       [&](GraphBuilder& b, ValueId x) {
         return b.op("LayerNormalization", "y", {x, weights(b, "s", {6}, 1), weights(b, "b", {6}, 2)});
       }},
      {"InstanceNormalization",
       [&](GraphBuilder& b, ValueId x) {
         return b.op("InstanceNormalization", "y", {x, weights(b, "s", {4}, 1), weights(b, "b", {4}, 2)});
       }},
      {"Resize",
       [&](GraphBuilder& b, ValueId x) {
         return b.op(
             "Resize", "y",
             {x, graph::kNoValue, b.constant("scales", Tensor(Shape{4}, std::vector<float>{1, 1, 2, 1.5F}))},
             {{"mode", std::string("linear")}});
       }},
  };
  for (const auto& [name, build] : cases) {
    CAPTURE(name);
    GraphBuilder b;
    const Shape shape{2, 4, 6, 6};
    const ValueId x = b.input("x", DataType::Float32, {2, 4, 6, 6});
    b.output(build(b, x));
    check_against_differences(b, shape);
  }
}

TEST_CASE("gradients of activations agree with differences") {
  for (const char* op : {"Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Sigmoid",
                         "HardSigmoid", "HardSwish", "Mish", "Softplus", "Softsign", "Tanh"}) {
    CAPTURE(op);
    GraphBuilder b(18);
    const ValueId x = b.input("x", DataType::Float32, {1, 40});
    const ValueId z = b.op("Gemm", "z", {x, weights(b, "w", {40, 12}, 1), weights(b, "c", {12}, 2)});
    b.output(b.op(op, "y", {z}));
    check_against_differences(b, {1, 40}, 4e-2);
  }
}

TEST_CASE("a node without a rule stops the gradient and is named") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {1, 6});
  const ValueId z = b.op("CumSum", "z", {x, b.constant("axis", Tensor::scalar<std::int64_t>(1))});
  b.output(b.op("Relu", "y", {z}));
  const Model model(std::make_shared<const graph::Graph>(b.graph()));
  Gradient gradient(model, {});
  gradient.input("x").copy_from(std::vector<float>(6, 1.0F));
  gradient.run();
  const int y = gradient.formulas().find("y");
  gradient.backward(std::vector{Gradient::Seed{y, std::vector<double>(6, 1.0)}});
  REQUIRE(gradient.stopped_at().size() == 1);
  CHECK(gradient.stopped_at()[0]->op == "CumSum");
  CHECK(gradient.stopped_at()[0]->node == "z_node");
}
