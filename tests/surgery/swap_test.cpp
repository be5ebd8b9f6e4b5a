#include <ember/swap.hpp>

#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <ember/session.hpp>
#include <ember/verification.hpp>

#include "ops/activation_pattern.hpp"
#include "ops/interpreter.hpp"
#include "support/graph_builder.hpp"
#include "support/model_of.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using test::GraphBuilder;
using test::model_of;

namespace {

/// y = Relu(x), named as an exporter would.
Model rectifier(int opset, DataType type = DataType::Float32) {
  GraphBuilder b(opset);
  b.output(b.op("Relu", "y", {b.input("x", type, {1, 2, 9})}));
  return model_of(b);
}

std::vector<double> outputs_of(const Model& model) {
  Tensor x(DataType::Float32, {1, 2, 9});
  for (std::size_t i = 0; i < 18; ++i) x.data<float>()[i] = static_cast<float>(i) - 9.0F;
  const std::vector<Tensor> outputs = ops::interpret(model.graph(), {{"x", x}});
  const auto y = outputs.at(0).data<float>();
  return {y.begin(), y.end()};
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Case {
  const char* to;
  const char* recognised;  ///< what ember's activation patterns call it
  std::function<double(double)> formula;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"relu", "Relu", [](double x) { return std::max(x, 0.0); }},
      {"relu6", "Clip", [](double x) { return std::min(std::max(x, 0.0), 6.0); }},
      {"leaky", "LeakyRelu", [](double x) { return x < 0 ? 0.01 * x : x; }},
      {"leaky:0.2", "LeakyRelu", [](double x) { return x < 0 ? 0.2 * x : x; }},
      {"prelu", "PRelu", [](double x) { return x < 0 ? 0.25 * x : x; }},
      {"prelu:0.5", "PRelu", [](double x) { return x < 0 ? 0.5 * x : x; }},
      {"elu", "Elu", [](double x) { return x < 0 ? std::expm1(x) : x; }},
      {"elu:2", "Elu", [](double x) { return x < 0 ? 2 * std::expm1(x) : x; }},
      {"celu:2", "Celu", [](double x) { return x < 0 ? 2 * std::expm1(x / 2) : x; }},
      {"selu", "Selu",
       [](double x) { return 1.0507009873554805 * (x < 0 ? 1.6732632423543772 * std::expm1(x) : x); }},
      {"gelu", "Gelu", [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); }},
      {"gelu_tanh", "GeluTanh",
       [](double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }},
      {"silu", "Silu", [](double x) { return x * sigmoid(x); }},
      {"hardswish", "HardSwish", [](double x) { return x * std::min(std::max(x / 6 + 0.5, 0.0), 1.0); }},
      {"mish", "Mish", [](double x) { return x * std::tanh(std::log1p(std::exp(x))); }},
      {"softplus", "Softplus", [](double x) { return std::log1p(std::exp(x)); }},
      {"sigmoid", "Sigmoid", sigmoid},
      {"tanh", "Tanh", [](double x) { return std::tanh(x); }},
  };
  return all;
}

}  // namespace

TEST_CASE("swap: every activation is what it says at every opset, whole or written out") {
  for (const int opset : {9, 10, 11, 13, 14, 17, 18, 20, 21}) {
    for (const Case& c : cases()) {
      CAPTURE(opset);
      CAPTURE(c.to);
      const Model before = rectifier(opset);
      if (std::string(c.to).starts_with("celu") && opset < 12) {
        CHECK_THROWS_WITH_AS((void)swap_activation(before, c.to), doctest::Contains("opset 12"), Error);
        continue;
      }
      const SwapResult result = swap_activation(before, c.to);
      REQUIRE(result.layers.size() == 1);
      CHECK(result.layers[0].node == "y_node");
      CHECK(result.layers[0].value == "y");
      CHECK(result.layers[0].from == "Relu");
      // Written and read again, it is valid, and ember sees one activation in it.
      const Model after = Model::parse(result.model.serialize());
      const auto patterns = ops::find_activations(after.graph());
      REQUIRE(patterns.size() == 1);
      CHECK(std::string(ops::to_string(patterns[0].function.kind)) == c.recognised);
      CHECK(after.graph().label(patterns[0].nodes.back()) == "y_node");
      const std::vector<double> y = outputs_of(after);
      for (std::size_t i = 0; i < y.size(); ++i) {
        CHECK(y[i] == doctest::Approx(c.formula(static_cast<double>(i) - 9)).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("swap: constants have the network's own type") {
  for (const char* to : {"gelu", "prelu", "relu6", "gelu_tanh"}) {
    CAPTURE(to);
    const SwapResult result = swap_activation(rectifier(13, DataType::Float16), to);
    const Model after = Model::parse(result.model.serialize());
    Session session(after);
    session.run();
    CHECK(session.output("y").type() == DataType::Float16);
  }
}

TEST_CASE("swap: there and back is the same network's function") {
  const std::filesystem::path folder = std::filesystem::path(EMBER_SOURCE_DIR) / "models";
  const Model before = Model::load(folder / "digits_cnn.onnx");
  const SwapResult there = swap_activation(before, "gelu");
  CHECK(there.layers.size() == 6);
  SwapOptions options;
  options.from = {"gelu"};
  const SwapResult back = swap_activation(there.model, "relu", options);
  CHECK(back.layers.size() == 6);
  const Verification same = verify(before, back.model, {}, {.seconds = 0});
  CHECK(same.find(ComparedOn::Random)->max_absolute() == 0);
  CHECK(back.model.info().operators == before.info().operators);
  const Verification other = verify(before, there.model, {}, {.seconds = 0});
  CHECK(other.find(ComparedOn::Random)->max_absolute() > 0.01);
}

TEST_CASE("swap: only the layers that are named, whatever their operator") {
  const std::filesystem::path folder = std::filesystem::path(EMBER_SOURCE_DIR) / "models";
  const Model before = Model::load(folder / "digits_mlp.onnx");
  SwapOptions options;
  options.layers = {"/4/Relu"};
  const SwapResult one = swap_activation(before, "elu", options);
  CHECK(one.layers.size() == 1);
  CHECK(one.model.info().operators.at("Elu") == 1);
  CHECK(one.model.info().operators.at("Relu") == 1);
  CHECK(swap_activation(one.model, "silu", options).layers.at(0).from == "Elu");
  options.layers = {"/5/Relu"};
  CHECK_THROWS_WITH_AS((void)swap_activation(before, "elu", options), doctest::Contains("/4/Relu"), Error);
}

TEST_CASE("swap: what cannot be done is refused with what could") {
  const Model model = rectifier(13);
  for (const char* wrong : {"", "leakier", "leaky:", "leaky:x", "leaky:1x", "relu:1", "celu:0", "elu:inf"}) {
    CAPTURE(wrong);
    CHECK_THROWS_WITH_AS((void)swap_activation(model, wrong), doctest::Contains("gelu_tanh"), Error);
  }
  SwapOptions options;
  options.from = {"Clip", "Elu"};
  CHECK_THROWS_WITH_AS((void)swap_activation(model, "relu", options), doctest::Contains("no Clip or Elu"),
                       Error);
}

// ---- raising biases

namespace {

/// Two inputs through one linear layer of two channels and a ReLU.
struct Layer {
  const char* name;
  bool norm;
  std::function<graph::ValueId(GraphBuilder&)> make;  ///< what the ReLU, or a BatchNormalization, reads
};

Tensor random(const Shape& shape, int seed) {
  return test::random_tensor(shape, static_cast<unsigned>(seed));
}

std::vector<Layer> layers() {
  const auto gemm = [](GraphBuilder::Attributes attributes, bool bias, Shape shape) {
    return [=](GraphBuilder& b) {
      std::vector<graph::ValueId> inputs = {b.input("x", DataType::Float32, {-1, 3}),
                                            b.constant("w", random({3, 3}, 1))};
      if (bias) inputs.push_back(b.constant("c", random(shape, 2)));
      return b.op("Gemm", "pre", inputs, attributes);
    };
  };
  const auto conv = [](bool bias) {
    return [=](GraphBuilder& b) {
      std::vector<graph::ValueId> inputs = {b.input("x", DataType::Float32, {-1, 2, 5, 5}),
                                            b.constant("w", random({3, 2, 3, 3}, 1))};
      if (bias) inputs.push_back(b.constant("c", random({3}, 2)));
      return b.op("Conv", "pre", inputs);
    };
  };
  return {{"Gemm", false, gemm({}, true, {3})},
          {"Gemm of beta 2", false, gemm({{"beta", 2.0F}, {"transB", std::int64_t{1}}}, true, {1, 3})},
          {"Gemm with one bias for all", false, gemm({}, true, {})},
          {"Gemm without bias", false, gemm({}, false, {})},
          {"Conv", false, conv(true)},
          {"Conv without bias", false, conv(false)},
          {"Conv and BatchNormalization", true, conv(false)},
          {"MatMul", false,
           [](GraphBuilder& b) {
             return b.op("MatMul", "pre",
                         {b.input("x", DataType::Float32, {-1, 4, 3}), b.constant("w", random({3, 3}, 1))});
           }},
          {"MatMul and Add", false, [](GraphBuilder& b) {
             const auto product =
                 b.op("MatMul", "product",
                      {b.input("x", DataType::Float32, {-1, 4, 3}), b.constant("w", random({3, 3}, 1))});
             return b.op("Add", "pre", {b.constant("c", random({3}, 2)), product});
           }}};
}

Model rectified(const Layer& layer) {
  GraphBuilder b(13);
  auto pre = layer.make(b);
  if (layer.norm) {
    Tensor variance(DataType::Float32, {3});
    for (float& v : variance.data<float>()) v = 0.3F;
    pre = b.op("BatchNormalization", "normal",
               {pre, b.constant("scale", random({3}, 3)), b.constant("shift", random({3}, 4)),
                b.constant("mean", random({3}, 5)), b.constant("variance", std::move(variance))});
  }
  // Elu above −1 can be undone.
  b.output(b.op("Elu", "y", {pre}));
  return model_of(b);
}

std::vector<double> before_activation(const Model& model) {
  const graph::Value& input = model.graph().value(model.graph().inputs[0]);
  std::vector<std::int64_t> dims;
  for (const graph::Dim& dim : *input.dims) dims.push_back(dim.size < 0 ? 2 : dim.size);
  const std::vector<Tensor> outputs =
      ops::interpret(model.graph(), {{"x", test::random_tensor(Shape(dims), 7)}});
  std::vector<double> values;
  for (const float y : outputs.at(0).data<float>()) {
    values.push_back(y < 0 ? std::log1p(static_cast<double>(y)) : static_cast<double>(y));
  }
  return values;
}

}  // namespace

TEST_CASE("raise biases: the chosen channel moves by the amount, the others stay") {
  for (const Layer& layer : layers()) {
    CAPTURE(layer.name);
    const Model before = rectified(layer);
    const std::vector<ChannelChoice> choice = {{.node = "y_node", .value = "y", .channels = {1}}};
    const BiasResult result = raise_biases(before, choice, 0.75);
    CHECK(result.refusals.empty());
    REQUIRE(result.raised.size() == 1);
    CHECK(result.raised[0].index == 1);
    const Model after = Model::parse(result.model.serialize());
    const std::vector<double> a = before_activation(before);
    const std::vector<double> b = before_activation(after);
    REQUIRE(a.size() == b.size());
    const std::size_t inner = std::string(layer.name).starts_with("Conv") ? 9 : 1;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const bool chosen = i / inner % 3 == 1;
      CHECK(b[i] - a[i] == doctest::Approx(chosen ? 0.75 : 0.0).epsilon(1e-3));
    }
  }
}

TEST_CASE("raise biases: a bias that another node reads is not moved with it") {
  GraphBuilder b(13);
  const auto x = b.input("x", DataType::Float32, {1, 3});
  const auto shared = b.constant("c", random({3}, 2));
  const auto y = b.op("Relu", "y", {b.op("Gemm", "p", {x, b.constant("w", random({3, 3}, 1)), shared})});
  b.output(b.op("Add", "z", {y, shared}));
  const std::vector<ChannelChoice> choice = {{.node = "y_node", .value = "y", .channels = {0}}};
  const BiasResult result = raise_biases(model_of(b), choice, 100);
  const Tensor* other = result.model.graph().constant(result.model.graph().find_value("c"));
  CHECK(other->data<float>()[0] == random({3}, 2).data<float>()[0]);
  CHECK(result.raised.at(0).after == doctest::Approx(result.raised.at(0).before + 100));
}

TEST_CASE("raise biases: refusals have reasons") {
  const auto reason = [](const std::function<void(GraphBuilder&)>& make) {
    GraphBuilder b(13);
    make(b);
    const std::vector<ChannelChoice> choice = {{.node = "y_node", .value = "y", .channels = {0, 2}}};
    const BiasResult result = raise_biases(model_of(b), choice, 1);
    CHECK(result.raised.empty());
    REQUIRE(result.refusals.size() == 2);
    CHECK(result.refusals[1].channel == 2);
    return result.refusals[0].reason;
  };
  CHECK(reason([](GraphBuilder& b) {
          b.output(b.op("Relu", "y", {b.input("x", DataType::Float32, {1, 3})}));
        }).find("the model's own") != std::string::npos);
  CHECK(reason([](GraphBuilder& b) {
          const auto x = b.input("x", DataType::Float32, {1, 3});
          b.output(b.op("Relu", "y", {b.op("Add", "sum", {x, b.op("Sqrt", "root", {x})})}));
        }).find("sum_node (Add)") != std::string::npos);
  CHECK(reason([](GraphBuilder& b) {
          const auto x = b.input("x", DataType::Float32, {1, 3});
          const auto pre = b.op("Gemm", "pre", {x, b.constant("w", random({3, 3}, 1))});
          b.output(b.op("Relu", "y", {pre}));
          b.output(b.op("Neg", "n", {pre}));
        }).find("n_node (Neg)") != std::string::npos);
  CHECK(reason([](GraphBuilder& b) {
          const auto x = b.input("x", DataType::Float32, {1, 3});
          b.output(b.op("Relu", "y", {b.op("Gemm", "pre", {x, b.input("w", DataType::Float32, {3, 3})})}));
        }).find("computed") != std::string::npos);
  GraphBuilder b(13);
  b.output(b.op("Relu", "y", {b.input("x", DataType::Float32, {1, 3})}));
  const std::vector<ChannelChoice> choice = {{.node = "z", .value = "", .channels = {0}}};
  CHECK_THROWS_AS((void)raise_biases(model_of(b), choice, 1), Error);
}
