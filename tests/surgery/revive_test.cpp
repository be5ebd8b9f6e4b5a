#include <ember/revive.hpp>

#include <array>
#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/verification.hpp>

#include "support/graph_builder.hpp"
#include "support/memory_samples.hpp"
#include "support/model_of.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using test::GraphBuilder;
using test::model_of;

namespace {

constexpr std::array kInits = {ReviveInit::He, ReviveInit::Rai, ReviveInit::Split};

Tensor random(const Shape& shape, unsigned seed) { return test::random_tensor(shape, seed); }

/// Zeros, with the given channels far below (or above) what anything else can make up for.
Tensor killing(std::int64_t channels, const std::vector<std::size_t>& dead, float value = -1000) {
  Tensor bias(DataType::Float32, {channels});
  for (const std::size_t channel : dead) bias.data<float>()[channel] = value;
  return bias;
}

Tensor positive(std::int64_t channels, unsigned seed) {
  Tensor tensor = random({channels}, seed);
  for (float& value : tensor.data<float>()) value = 0.5F + std::abs(value);
  return tensor;
}

/// Everything that holds of a revival, whatever the network.
ReviveResult check_revival(const Model& before, Samples& samples, const ReviveOptions& options,
                           std::size_t expected) {
  const ReviveResult result = revive(before, samples, options);
  CHECK(result.units.size() == expected);
  for (const ChannelRefusal& refusal : result.refusals) MESSAGE(refusal.node << ": " << refusal.reason);
  // Through the file: what is written is what was meant.
  const Model after = Model::parse(result.model.serialize());
  const Verification found =
      verify(before, after, {.calibration = &samples}, {.random_samples = 0, .seconds = 0});
  CHECK(found.find(ComparedOn::Calibration)->max_relative() < 1e-5);
  for (const RevivedUnit& unit : result.units) {
    CAPTURE(unit.channel);
    CHECK(std::abs(unit.share - unit.share_wanted) <= 0.1);
    CHECK(unit.share > 0);
    if (options.init != ReviveInit::Split) CHECK(unit.share_wanted == options.fire_share);
    CHECK((unit.donor >= 0) == (options.init == ReviveInit::Split));
  }
  CHECK(result.touched.empty() == (expected == 0));
  for (const TouchedSlice& slice : result.touched) {
    const graph::ValueId value = after.graph().find_value(slice.tensor);
    REQUIRE(value != graph::kNoValue);
    const Tensor* tensor = after.graph().constant(value);
    REQUIRE(tensor != nullptr);
    REQUIRE(slice.axis < tensor->shape().rank());
    CHECK(slice.index < tensor->shape()[slice.axis]);
  }
  return result;
}

struct Network {
  const char* name;
  bool splits;  ///< its dead units have readers that a split unit can share
  std::size_t dead;
  Shape samples;
  std::function<Model()> make;
};

Model dense(bool transposed, bool with_bias) {
  GraphBuilder b(13);
  const auto x = b.input("x", DataType::Float32, {-1, 6});
  const std::int64_t rows = transposed ? 1 : 0;
  auto h = b.op("Gemm", "p1",
                {x, b.constant("w1", random(transposed ? Shape{8, 6} : Shape{6, 8}, 1)),
                 b.constant("b1", killing(8, {1, 5}))},
                {{"transB", rows}});
  h = b.op("Relu", "h1", {h});
  std::vector<graph::ValueId> second = {
      h, b.constant("w2", random(transposed ? Shape{7, 8} : Shape{8, 7}, transposed ? 2 : 12))};
  if (with_bias) second.push_back(b.constant("b2", killing(7, {0, 3})));
  h = b.op("Relu", "h2", {b.op("Gemm", "p2", second, {{"transB", rows}})});
  b.output(b.op("MatMul", "y", {h, b.constant("w3", random({7, 3}, 3))}));
  return model_of(b);
}

/// Conv → (BatchNormalization →) ReLU → tail.
Model convolutional(bool norm, float bias,
                    const std::function<graph::ValueId(GraphBuilder&, graph::ValueId)>& tail) {
  GraphBuilder b(13);
  const auto x = b.input("x", DataType::Float32, {-1, 2, 6, 6});
  std::vector<graph::ValueId> inputs = {x, b.constant("w1", random({6, 2, 3, 3}, 1))};
  if (!norm) inputs.push_back(b.constant("b1", killing(6, {0, 4}, bias)));
  auto h = b.op("Conv", "p1", inputs, {{"pads", std::vector<std::int64_t>{1, 1, 1, 1}}});
  if (norm) {
    h = b.op("BatchNormalization", "n1",
             {h, b.constant("scale", positive(6, 2)), b.constant("shift", killing(6, {0, 4}, bias)),
              b.constant("mean", random({6}, 3)), b.constant("variance", positive(6, 4))});
  }
  b.output(tail(b, b.op("Relu", "h1", {h})));
  return model_of(b);
}

graph::ValueId padded_conv(GraphBuilder& b, graph::ValueId h) {
  return b.op("Conv", "y", {h, b.constant("w2", random({3, 6, 3, 3}, 5))},
              {{"pads", std::vector<std::int64_t>{1, 1, 1, 1}}});
}
graph::ValueId flattened(GraphBuilder& b, graph::ValueId h) {
  const auto pooled =
      b.op("MaxPool", "pool", {h},
           {{"kernel_shape", std::vector<std::int64_t>{2, 2}}, {"strides", std::vector<std::int64_t>{2, 2}}});
  return b.op("Gemm", "y", {b.op("Flatten", "flat", {pooled}), b.constant("w2", random({54, 3}, 5))});
}
graph::ValueId flattened_last(GraphBuilder& b, graph::ValueId h) {
  const auto turned = b.op("Transpose", "turned", {h}, {{"perm", std::vector<std::int64_t>{0, 2, 3, 1}}});
  const auto rows = b.op("Reshape", "rows",
                         {turned, b.constant("shape", Tensor(Shape{2}, std::vector<std::int64_t>{-1, 216}))});
  return b.op("Gemm", "y", {rows, b.constant("w2", random({216, 3}, 5))});
}
graph::ValueId joined(GraphBuilder& b, graph::ValueId h) {
  const auto side =
      b.op("Sigmoid", "side",
           {b.op("Conv", "sc", {b.graph().inputs[0], b.constant("ws", random({4, 2, 1, 1}, 6))})});
  const auto both = b.op("Concat", "both", {side, h}, {{"axis", std::int64_t{1}}});
  const auto first = b.op("Conv", "c1", {both, b.constant("w2", random({3, 10, 3, 3}, 5))});
  const auto second = b.op("Conv", "c2", {both, b.constant("w3", random({3, 10, 3, 3}, 7))});
  return b.op("Add", "y", {first, second});
}
graph::ValueId gated(GraphBuilder& b, graph::ValueId h) {
  const auto squeezed = b.op("GlobalAveragePool", "squeeze", {h});
  const auto gate = b.op("Sigmoid", "gate",
                         {b.op("Conv", "excite", {squeezed, b.constant("we", random({6, 6, 1, 1}, 6))})});
  return padded_conv(b, b.op("Mul", "scaled", {h, gate}));
}
graph::ValueId depthwise(GraphBuilder& b, graph::ValueId h) {
  const auto d =
      b.op("Conv", "dw", {h, b.constant("wd", random({6, 1, 3, 3}, 6)), b.constant("bd", positive(6, 8))},
           {{"group", std::int64_t{6}}, {"pads", std::vector<std::int64_t>{1, 1, 1, 1}}});
  return padded_conv(b, b.op("Sigmoid", "sd", {d}));
}
graph::ValueId pooled_mean(GraphBuilder& b, graph::ValueId h) {
  const auto mean = b.op("ReduceMean", "mean", {h},
                         {{"axes", std::vector<std::int64_t>{2, 3}}, {"keepdims", std::int64_t{0}}});
  return b.op("Gemm", "y", {mean, b.constant("w2", random({3, 6}, 5)), b.constant("b2", random({3}, 6))},
              {{"transB", std::int64_t{1}}, {"alpha", 0.5F}, {"beta", 2.0F}});
}

const std::vector<Network>& networks() {
  static const std::vector<Network> all = {
      {"two dense layers", true, 4, {200, 6}, [] { return dense(false, true); }},
      {"two dense layers, transposed", true, 4, {200, 6}, [] { return dense(true, true); }},
      {"convolutions", true, 2, {60, 2, 6, 6}, [] { return convolutional(false, -1000, padded_conv); }},
      {"with BatchNormalization",
       true,
       2,
       {60, 2, 6, 6},
       [] { return convolutional(true, -1000, padded_conv); }},
      {"pooled and flattened", true, 2, {60, 2, 6, 6}, [] { return convolutional(true, -1000, flattened); }},
      {"channels last, flattened",
       true,
       2,
       {60, 2, 6, 6},
       [] { return convolutional(true, -1000, flattened_last); }},
      {"concatenated, two readers",
       true,
       2,
       {60, 2, 6, 6},
       [] { return convolutional(false, -1000, joined); }},
      {"squeeze and excite", false, 2, {60, 2, 6, 6}, [] { return convolutional(true, -1000, gated); }},
      {"before a depthwise convolution",
       false,
       2,
       {60, 2, 6, 6},
       [] { return convolutional(true, -1000, depthwise); }},
      {"a mean and a scaled Gemm",
       true,
       2,
       {60, 2, 6, 6},
       [] { return convolutional(false, -1000, pooled_mean); }},
      {"MatMul and Add on tokens",
       true,
       1,
       {80, 5, 4},
       [] {
         GraphBuilder b(13);
         const auto x = b.input("x", DataType::Float32, {-1, 5, 4});
         const auto product = b.op("MatMul", "p1", {x, b.constant("w1", random({4, 6}, 1))});
         const auto h = b.op("Relu", "h1", {b.op("Add", "a1", {product, b.constant("b1", killing(6, {2}))})});
         b.output(b.op("MatMul", "y", {h, b.constant("w2", random({6, 3}, 2))}));
         return model_of(b);
       }},
      {"ReLU6 stuck at 6",
       true,
       1,
       {80, 4},
       [] {
         GraphBuilder b(13);
         const auto x = b.input("x", DataType::Float32, {-1, 4});
         const auto p = b.op(
             "Gemm", "p1", {x, b.constant("w1", random({4, 6}, 1)), b.constant("b1", killing(6, {2}, 1000))});
         const auto h =
             b.op("Clip", "h1",
                  {p, b.constant("low", Tensor::scalar(0.0F)), b.constant("high", Tensor::scalar(6.0F))});
         b.output(b.op("MatMul", "y", {h, b.constant("w2", random({6, 3}, 2))}));
         return model_of(b);
       }},
  };
  return all;
}

}  // namespace

TEST_CASE("revive: the function stays, and every unit fires on its share, whatever the weights") {
  for (const Network& network : networks()) {
    for (const ReviveInit init : kInits) {
      CAPTURE(network.name);
      CAPTURE(to_string(init));
      test::MemorySamples samples(random(network.samples, 9));
      ReviveOptions options;
      options.init = init;
      const bool possible = init != ReviveInit::Split || network.splits;
      const ReviveResult result =
          check_revival(network.make(), samples, options, possible ? network.dead : 0);
      CHECK(result.refusals.size() == (possible ? 0 : network.dead));
      // Nothing is left to revive.
      if (!possible) continue;
      const ReviveResult again = revive(result.model, samples, options);
      CHECK(again.units.empty());
      CHECK(again.refusals.empty());
      CHECK(again.model.serialize() == result.model.serialize());
    }
  }
}

TEST_CASE("revive: the share is the caller's to choose") {
  for (const double share : {0.1, 0.5, 0.9}) {
    CAPTURE(share);
    test::MemorySamples samples(random({400, 6}, 9));
    ReviveOptions options;
    options.fire_share = share;
    const ReviveResult result = check_revival(dense(true, true), samples, options, 4);
    for (const RevivedUnit& unit : result.units) CHECK(std::abs(unit.share - share) < 0.02);
  }
  test::MemorySamples samples(random({4, 6}, 9));
  ReviveOptions options;
  for (const double wrong : {0.0, 1.0, -1.0}) {
    options.fire_share = wrong;
    CHECK_THROWS_AS((void)revive(dense(true, true), samples, options), Error);
  }
}

TEST_CASE("revive: the same seed gives the same network, another seed another") {
  test::MemorySamples samples(random({50, 6}, 9));
  ReviveOptions options;
  const auto bytes = [&] { return revive(dense(true, true), samples, options).model.serialize(); };
  const auto first = bytes();
  CHECK(bytes() == first);
  options.threads = 2;
  options.batch = 7;
  CHECK(bytes() == first);
  options.seed = 2;
  CHECK(bytes() != first);
}

TEST_CASE("revive: drawn weights have the spread of their kind, and outgoing weights are 0") {
  test::MemorySamples samples(random({50, 2, 6, 6}, 9));
  const ReviveResult result = revive(convolutional(true, -1000, padded_conv), samples, {});
  const graph::Graph& graph = result.model.graph();
  const auto at = [&](const char* name) { return graph.constant(graph.find_value(name))->data<float>(); };
  double squares = 0;
  for (std::size_t i = 0; i < 18; ++i) squares += static_cast<double>(at("w1")[i] * at("w1")[i]);
  CHECK(squares > 0.5);  // 18 of N(0, 2 / 18): 2 expected
  CHECK(squares < 5);
  CHECK(at("scale")[0] == 1);
  CHECK(at("scale")[4] == 1);
  CHECK(at("scale")[1] != 1);
  CHECK(at("variance")[4] > 0);
  const Shape shape{3, 6, 3, 3};
  for (std::size_t i = 0; i < 162; ++i) {
    const bool dead = i / 9 % 6 == 0 || i / 9 % 6 == 4;
    CHECK((at("w2")[i] == 0) == dead);
  }
  const std::vector<TouchedSlice> expected = {{"mean", 0, 0},     {"mean", 0, 4},     {"scale", 0, 0},
                                              {"scale", 0, 4},    {"shift", 0, 0},    {"shift", 0, 4},
                                              {"variance", 0, 0}, {"variance", 0, 4}, {"w1", 0, 0},
                                              {"w1", 0, 4},       {"w2", 1, 0},       {"w2", 1, 4}};
  CHECK(result.touched == expected);
  const auto json = nlohmann::json::parse(touched_json(result));
  CHECK(json["schema"] == "ember-touched-1");
  CHECK(json["touched"].size() == expected.size());
  CHECK(json["touched"][0] == nlohmann::json{{"tensor", "mean"}, {"axis", 0}, {"index", 0}});
}

TEST_CASE("revive: BatchNormalization gets the statistics of the new weights") {
  test::MemorySamples samples(random({60, 2, 6, 6}, 9));
  const ReviveResult result = revive(convolutional(true, -1000, padded_conv), samples, {});
  // With shift 0 the channel would be normalised: its pre-activation less the shift has mean 0 and
  // variance 1.
  const AuditReport report = audit(result.model, samples);
  const auto shift = result.model.graph().constant(result.model.graph().find_value("shift"))->data<float>();
  for (const std::size_t channel : {0UL, 4UL}) {
    const ChannelStatistics& s = report.layers().at(0).channels.at(channel).statistics;
    const double mean = s.pre_sum / static_cast<double>(s.positions);
    CHECK(mean - static_cast<double>(shift[channel]) == doctest::Approx(0).epsilon(1e-3));
    CHECK(s.pre_sum_squares / static_cast<double>(s.positions) - mean * mean ==
          doctest::Approx(1).epsilon(1e-2));
  }
}

TEST_CASE("revive: a report chooses the units, and one that does not fit is refused") {
  test::MemorySamples samples(random({100, 6}, 9));
  const Model before = dense(true, true);
  AuditReport report = audit(before, samples);
  ReviveOptions options;
  options.report = &report;
  report.layer_reports[0].channels[5].verdict = Verdict::Healthy;
  report.layer_reports[0].channels[0].verdict = Verdict::Silent;
  const ReviveResult result = revive(before, samples, options);
  CHECK(result.units.size() == 3);
  REQUIRE(result.refusals.size() == 1);
  CHECK(result.refusals[0].channel == 0);
  CHECK(result.refusals[0].reason.find("not constant on these data") != std::string::npos);
  options.verdicts = {Verdict::Rare};
  CHECK(revive(before, samples, options).units.empty());
  report.layer_reports[0].node = report.layer_reports[0].value = "elsewhere";
  options.verdicts = {Verdict::Silent};
  CHECK_THROWS_WITH_AS((void)revive(before, samples, options), doctest::Contains("elsewhere"), Error);
}

TEST_CASE("revive: refusals have reasons") {
  const auto reason = [](const std::function<graph::ValueId(GraphBuilder&, graph::ValueId)>& tail,
                         float bias = -1000) {
    test::MemorySamples samples(random({30, 2, 6, 6}, 9));
    const Model before = convolutional(false, bias, tail);
    const ReviveResult result = revive(before, samples, {});
    CHECK(result.units.empty());
    CHECK(result.model.serialize() == before.serialize());
    REQUIRE(result.refusals.size() == 2);
    CHECK(result.refusals[1].channel == 4);
    return result.refusals[0].reason;
  };
  const auto says = [&](const std::string& text, const char* part) {
    CHECK_MESSAGE(text.find(part) != std::string::npos, text);
  };
  SUBCASE("a residual Add with a live other operand") {
    says(reason([](GraphBuilder& b, graph::ValueId h) {
           const auto side =
               b.op("Conv", "side", {b.graph().inputs[0], b.constant("ws", random({6, 2, 1, 1}, 6))});
           return padded_conv(b, b.op("Add", "sum", {h, side}));
         }),
         "sum_node (Add) sums it with another value");
  }
  SUBCASE("an output of the model") {
    says(reason([](GraphBuilder& b, graph::ValueId h) {
           b.output(h);
           return padded_conv(b, h);
         }),
         "'h1' is an output");
  }
  SUBCASE("weights that two nodes share") {
    says(reason([](GraphBuilder& b, graph::ValueId h) {
           const auto y = padded_conv(b, h);
           b.output(b.op("Conv", "twin", {h, b.graph().find_value("w2")}));
           return y;
         }),
         "shares its weights");
  }
  SUBCASE("something that mixes channels") {
    says(reason([](GraphBuilder& b, graph::ValueId h) {
           return padded_conv(b, b.op("Softmax", "soft", {h}, {{"axis", std::int64_t{1}}}));
         }),
         "soft_node (Softmax) mixes it with others");
  }
  SUBCASE("nothing reads it through weights") {
    says(reason([](GraphBuilder& b, graph::ValueId h) {
           return b.op("ReduceSum", "y",
                       {h, b.constant("axes", Tensor(Shape{1}, std::vector<std::int64_t>{1}))});
         }),
         "y_node (ReduceSum)");
  }
  SUBCASE("a padded convolution that reads a constant other than 0") {
    GraphBuilder b(13);
    const auto x = b.input("x", DataType::Float32, {-1, 2, 6, 6});
    const auto p =
        b.op("Conv", "p1",
             {x, b.constant("w1", random({6, 2, 3, 3}, 1)), b.constant("b1", killing(6, {4}, 1000))});
    const auto h = b.op(
        "Clip", "h1", {p, b.constant("low", Tensor::scalar(0.0F)), b.constant("high", Tensor::scalar(6.0F))});
    b.output(padded_conv(b, h));
    test::MemorySamples samples(random({30, 2, 6, 6}, 9));
    const ReviveResult result = revive(model_of(b), samples, {});
    CHECK(result.units.empty());
    REQUIRE(result.refusals.size() == 1);
    says(result.refusals[0].reason, "borders");
  }
}

TEST_CASE("revive: a unit whose inputs never differ is given up") {
  Tensor same(DataType::Float32, {40, 6});
  for (float& value : same.data<float>()) value = 1;
  test::MemorySamples samples(std::move(same));
  const ReviveResult result = revive(dense(true, true), samples, {});
  CHECK(result.units.empty());
  CHECK_FALSE(result.refusals.empty());
}

TEST_CASE("revive: the bundled dying networks, all three ways") {
  const std::filesystem::path folder = std::filesystem::path(EMBER_SOURCE_DIR) / "models";
  const auto samples = open_samples(folder / "digits_calibration.npz");
  for (const ReviveInit init : kInits) {
    CAPTURE(to_string(init));
    ReviveOptions options;
    options.init = init;
    check_revival(Model::load(folder / "digits_mlp_high_lr.onnx"), *samples, options, 41);
    check_revival(Model::load(folder / "digits_cnn_dead_bias.onnx"), *samples, options, 32);
  }
}
