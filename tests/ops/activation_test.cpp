#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <ember/error.hpp>

#include "support/lowering_harness.hpp"
#include "support/random_tensor.hpp"
#include "support/run_op.hpp"

using namespace ember;
using test::elements_of;
using test::GraphBuilder;
using test::run_op;
using test::tensor_of;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("");

struct Unary {
  std::string op;
  int opset;
  GraphBuilder::Attributes attributes;
};

/// Every one-input activation, with default and with other parameters.
const std::vector<Unary>& unaries() {
  static const std::vector<Unary> all = {
      {"Relu", 7, {}},
      {"LeakyRelu", 16, {}},
      {"LeakyRelu", 7, {{"alpha", 0.3F}}},
      {"Elu", 7, {}},
      {"Elu", 22, {{"alpha", 2.0F}}},
      {"Selu", 7, {}},
      {"Selu", 22, {{"alpha", 2.0F}, {"gamma", 3.0F}}},
      {"Celu", 12, {}},
      {"Celu", 12, {{"alpha", 2.0F}}},
      {"ThresholdedRelu", 10, {}},
      {"ThresholdedRelu", 22, {{"alpha", 0.25F}}},
      {"Gelu", 20, {}},
      {"Gelu", 20, {{"approximate", std::string("tanh")}}},
      {"Sigmoid", 13, {}},
      {"HardSigmoid", 7, {}},
      {"HardSigmoid", 22, {{"alpha", 0.5F}, {"beta", 0.6F}}},
      {"HardSwish", 14, {}},
      {"Mish", 18, {}},
      {"Softplus", 7, {}},
      {"Softsign", 7, {}},
      {"Tanh", 7, {}},
      {"Swish", 24, {}},
      {"Swish", 24, {{"alpha", 1.5F}}},
      {"Clip", 10, {{"min", -1.0F}, {"max", 2.0F}}},
      {"Clip", 13, {}},
  };
  return all;
}

float one(const std::string& op, int opset, float x, GraphBuilder::Attributes attributes = {}) {
  return elements_of<float>(run_op(op, opset, {tensor_of<float>({1}, {x})}, std::move(attributes))[0])[0];
}

test::LoweringCase lowering_case(const Unary& unary, const Shape& shape, std::uint64_t seed) {
  GraphBuilder builder(unary.opset);
  const auto x = builder.input("x", DataType::Float32, {shape.begin(), shape.end()});
  builder.output(builder.op(unary.op, "y", {x}, unary.attributes));
  test::LoweringCase result{.graph = builder.graph()};
  result.inputs.emplace("x", test::random_tensor(shape, seed, -6.0F, 6.0F));
  result.absolute = 1e-6;
  result.relative = 1e-6;
  return result;
}

}  // namespace

TEST_CASE("activations have ONNX's values") {
  // Worked out with a calculator from the operators' definitions.
  CHECK(one("Relu", 14, -1.5F) == 0.0F);
  CHECK(one("LeakyRelu", 16, -2.0F) == doctest::Approx(-0.02));
  CHECK(one("Elu", 6, -1.0F, {{"alpha", 2.0F}}) == doctest::Approx(-1.2642411));
  CHECK(one("Selu", 6, 1.0F) == doctest::Approx(1.0507010));
  CHECK(one("Selu", 6, -1.0F) == doctest::Approx(-1.1113307));
  CHECK(one("Celu", 12, -2.0F, {{"alpha", 2.0F}}) == doctest::Approx(-1.2642411));
  CHECK(one("ThresholdedRelu", 10, 1.0F) == 0.0F);
  CHECK(one("ThresholdedRelu", 10, 1.5F) == 1.5F);
  CHECK(one("Gelu", 20, 1.0F) == doctest::Approx(0.8413447));
  CHECK(one("Gelu", 20, 1.0F, {{"approximate", std::string("tanh")}}) == doctest::Approx(0.8411920));
  CHECK(one("Sigmoid", 13, 2.0F) == doctest::Approx(0.8807971));
  CHECK(one("HardSigmoid", 6, 1.0F) == doctest::Approx(0.7));
  CHECK(one("HardSwish", 14, 1.0F) == doctest::Approx(0.6666667));
  CHECK(one("HardSwish", 14, 4.0F) == 4.0F);
  CHECK(one("Mish", 18, 1.0F) == doctest::Approx(0.8650984));
  CHECK(one("Softplus", 1, 1.0F) == doctest::Approx(1.3132617));
  CHECK(one("Softplus", 1, 1e30F) == 1e30F);
  CHECK(one("Softsign", 1, -3.0F) == doctest::Approx(-0.75));
  CHECK(one("Tanh", 13, 0.5F) == doctest::Approx(0.4621172));
  CHECK(one("Swish", 24, 1.0F) == doctest::Approx(0.7310586));
  CHECK(std::isnan(one("Relu", 14, kNan)));
  CHECK(std::isnan(one("Clip", 13, kNan)));
}

TEST_CASE("half and double activations compute in double and round once") {
  const auto half = run_op("Tanh", 13, {tensor_of<Half>({1}, {Half(0.5F)})})[0];
  CHECK(static_cast<float>(elements_of<Half>(half)[0]) == static_cast<float>(Half(0.46211716F)));
  const auto brain = run_op("Relu", 14, {tensor_of<BFloat>({2}, {BFloat(-1.0F), BFloat(3.0F)})})[0];
  CHECK(static_cast<float>(elements_of<BFloat>(brain)[1]) == 3.0F);
  const auto wide = run_op("Sigmoid", 13, {tensor_of<double>({1}, {2.0})})[0];
  CHECK(elements_of<double>(wide)[0] == doctest::Approx(0.88079707797788244).epsilon(1e-15));
}

TEST_CASE("Relu takes signed integers and refuses others") {
  const auto y = run_op("Relu", 14, {tensor_of<std::int32_t>({3}, {-5, 0, 7})})[0];
  CHECK(elements_of<std::int32_t>(y) == std::vector<std::int32_t>{0, 0, 7});
  CHECK_THROWS_WITH_AS(run_op("Relu", 14, {tensor_of<std::uint8_t>({1}, {1})}), doctest::Contains("uint8"),
                       Error);
  CHECK_THROWS_WITH_AS(run_op("Tanh", 13, {tensor_of<std::int32_t>({1}, {1})}), doctest::Contains("int32"),
                       Error);
}

TEST_CASE("Gelu refuses an unknown form at load") {
  GraphBuilder builder(20);
  const auto x = builder.input("x", DataType::Float32, {1});
  builder.output(builder.op("Gelu", "y", {x}, {{"approximate", std::string("sigmoid")}}));
  const std::vector<std::string> reasons = ops::unsupported(builder.graph());
  REQUIRE(reasons.size() == 1);
  CHECK(reasons[0].find("'sigmoid'") != std::string::npos);
}

TEST_CASE("Clip takes bounds from attributes up to opset 10 and from inputs after") {
  const Tensor x = tensor_of<float>({4}, {-kInfinity, -2.0F, 0.5F, 7.0F});
  const auto by_attribute = run_op("Clip", 6, {x}, {{"max", 6.0F}})[0];
  CHECK(elements_of<float>(by_attribute) ==
        std::vector<float>{-std::numeric_limits<float>::max(), -2.0F, 0.5F, 6.0F});
  const auto by_input = run_op("Clip", 11, {x, Tensor::scalar(-1.0F), Tensor::scalar(6.0F)})[0];
  CHECK(elements_of<float>(by_input) == std::vector<float>{-1.0F, -1.0F, 0.5F, 6.0F});
  const auto upper_only = run_op("Clip", 13, {x, Tensor(), Tensor::scalar(0.0F)})[0];
  CHECK(elements_of<float>(upper_only) == std::vector<float>{-kInfinity, -2.0F, 0.0F, 0.0F});
  const auto crossed = run_op("Clip", 13, {x, Tensor::scalar(3.0F), Tensor::scalar(1.0F)})[0];
  CHECK(elements_of<float>(crossed) == std::vector<float>(4, 1.0F));
}

TEST_CASE("Clip works on integers and checks its bounds") {
  const Tensor x = tensor_of<std::int8_t>({4}, {-128, -3, 4, 127});
  const auto y = run_op("Clip", 12, {x, Tensor::scalar<std::int8_t>(-5), Tensor::scalar<std::int8_t>(5)})[0];
  CHECK(elements_of<std::int8_t>(y) == std::vector<std::int8_t>{-5, -3, 4, 5});
  const auto open = run_op("Clip", 12, {tensor_of<std::uint64_t>({1}, {~0ULL})})[0];
  CHECK(elements_of<std::uint64_t>(open)[0] == ~0ULL);
  CHECK_THROWS_WITH_AS(run_op("Clip", 12, {x, Tensor::scalar(1.0F)}), doctest::Contains("bound 1 is float32"),
                       Error);
  CHECK_THROWS_WITH_AS(run_op("Clip", 12, {x, tensor_of<std::int8_t>({2}, {1, 2})}),
                       doctest::Contains("must be a scalar"), Error);
}

TEST_CASE("PRelu broadcasts its slope over any axes") {
  const Tensor x = tensor_of<float>({2, 2, 2}, {-1, 2, -3, 4, -5, 6, -7, -8});
  const auto per_channel = run_op("PRelu", 9, {x, tensor_of<float>({2, 1}, {0.5F, 2.0F})})[0];
  CHECK(elements_of<float>(per_channel) == std::vector<float>{-0.5F, 2, -6, 4, -2.5F, 6, -14, -16});
  const auto last_axis = run_op("PRelu", 16, {x, tensor_of<float>({2}, {0.5F, 2.0F})})[0];
  CHECK(elements_of<float>(last_axis) == std::vector<float>{-0.5F, 2, -1.5F, 4, -2.5F, 6, -3.5F, -16});
  const auto integer =
      run_op("PRelu", 9, {tensor_of<std::int32_t>({2}, {-4, 4}), tensor_of<std::int32_t>({1}, {3})})[0];
  CHECK(elements_of<std::int32_t>(integer) == std::vector<std::int32_t>{-12, 4});
  const auto smallest = run_op("PRelu", 9,
                               {tensor_of<std::int64_t>({1}, {std::numeric_limits<std::int64_t>::min()}),
                                tensor_of<std::int64_t>({1}, {-1})})[0];
  CHECK(elements_of<std::int64_t>(smallest)[0] == std::numeric_limits<std::int64_t>::min());
  CHECK_THROWS_WITH_AS(run_op("PRelu", 16, {x, tensor_of<float>({3}, {1, 2, 3})}),
                       doctest::Contains("broadcast"), Error);
  CHECK_THROWS_WITH_AS(run_op("PRelu", 16, {tensor_of<float>({1}, {1}), tensor_of<float>({3}, {1, 2, 3})}),
                       doctest::Contains("does not broadcast"), Error);
}

TEST_CASE("activation steps agree with the reference in every layout, on every ISA, at 1 and 2 workers") {
  std::uint64_t seed = 1;
  for (const Unary& unary : unaries()) {
    CAPTURE(unary.op);
    for (const Shape& shape : {Shape{1}, Shape{3, 13}, Shape{2, 5, 7}, Shape{1, 19, 3, 5}}) {
      const test::LoweringResult result =
          test::check_lowerings(lowering_case(unary, shape, ++seed), {"activation"});
      if (shape.rank() >= 3) CHECK(result.accepted_blocked.contains("activation"));
    }
  }
  // Large enough to be split into tasks.
  test::check_lowerings(lowering_case({"Sigmoid", 13, {}}, {3, 37, 41, 13}, 99), {"activation"});
}

TEST_CASE("Clip and PRelu steps take constant parameters and refuse others") {
  const Shape shape = {2, 21, 3, 5};
  GraphBuilder clip(13);
  const auto x = clip.input("x", DataType::Float32, {2, 21, 3, 5});
  clip.output(clip.op("Clip", "y", {x, graph::kNoValue, clip.constant("max", Tensor::scalar(1.5F))}));
  test::LoweringCase clip_case{.graph = clip.graph(), .exact = true};
  clip_case.inputs.emplace("x", test::random_tensor(shape, 5, -3.0F, 3.0F));
  test::check_lowerings(clip_case, {"activation"});

  GraphBuilder open(13);
  const auto bound = open.input("low", DataType::Float32, {});
  open.output(open.op("Clip", "y", {open.input("x", DataType::Float32, {4}), bound}));
  test::LoweringCase open_case{.graph = open.graph()};
  open_case.inputs.emplace("x", test::random_tensor({4}, 6));
  open_case.inputs.emplace("low", Tensor::scalar(0.0F));
  CHECK(test::run_lowerings(open_case).refusals.at("activation") == "bounds are not constant");

  struct Slope {
    Shape input, slope;
    bool fast;
  };
  for (const Slope& s :
       {Slope{{2, 21, 3, 5}, {21, 1, 1}, true}, Slope{{2, 21, 3, 5}, {1, 21, 1, 1}, true},
        Slope{{2, 21, 3, 5}, {1}, true}, Slope{{5, 21}, {21}, true}, Slope{{3, 40, 17, 29}, {40, 1, 1}, true},
        Slope{{2, 21, 9}, {21, 1}, true}, Slope{{2, 21, 3, 5}, {5}, false}, Slope{{3}, {3}, false}}) {
    CAPTURE(to_string(s.input));
    CAPTURE(to_string(s.slope));
    GraphBuilder builder(16);
    const auto in = builder.input("x", DataType::Float32, {s.input.begin(), s.input.end()});
    const auto slope = builder.constant("slope", test::random_tensor(s.slope, 7, -0.5F, 0.5F));
    builder.output(builder.op("PRelu", "y", {in, slope}));
    test::LoweringCase prelu_case{.graph = builder.graph()};
    prelu_case.inputs.emplace("x", test::random_tensor(s.input, 8));
    if (s.fast) test::check_lowerings(prelu_case, {"activation"});
    else CHECK(test::run_lowerings(prelu_case).refusals.contains("activation"));
  }
}
