#include <ember/gradients.hpp>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/audit.hpp>
#include <ember/report.hpp>
#include <ember/session.hpp>

#include "support/graph_builder.hpp"
#include "support/memory_samples.hpp"
#include "support/model_of.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using graph::ValueId;
using test::GraphBuilder;
using test::MemorySamples;
using test::model_of;

namespace {

/// `activation` of x · w + bias, called `name`; a bias for each channel may be given.
ValueId dense(GraphBuilder& b, ValueId x, const std::string& name, std::int64_t in, std::int64_t out,
              const std::string& activation, const std::vector<float>& bias, float size, std::uint64_t seed) {
  Tensor shift(DataType::Float32, {out});
  for (std::size_t i = 0; i < bias.size(); ++i) shift.data<float>()[i] = bias[i];
  const ValueId z = b.op("Gemm", activation.empty() ? name : name + "_z",
                         {x, b.constant(name + "_w", test::random_tensor({in, out}, seed, -size, size)),
                          b.constant(name + "_b", std::move(shift))});
  return activation.empty() ? z : b.op(activation, name, {z});
}

std::vector<std::int64_t> labels(std::int64_t count, std::int64_t classes) {
  std::vector<std::int64_t> result;
  for (std::int64_t i = 0; i < count; ++i) result.push_back(i * 7 % classes);
  return result;
}

AuditReport audited(const Model& model, const Tensor& data, const std::vector<std::int64_t>& classes) {
  MemorySamples samples(data);
  AuditOptions options;
  options.explain = false;
  options.labels = classes;
  return audit(model, samples, options);
}

/// Six inputs, a hidden layer of four (its first channel shifted), and scores that end in `last`.
GraphBuilder classifier(const std::string& last, std::int64_t classes, float shift) {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 6});
  const ValueId h = dense(b, x, "h", 6, 4, "Tanh", {shift}, 0.7F, 1);
  b.output(dense(b, h, "scores", 4, classes, last, {}, 1.0F, 2));
  return b;
}

}  // namespace

TEST_CASE("the gradient of a loss by a channel is what moving its bias changes, for every end of a network") {
  const std::int64_t kSamples = 1;
  for (const auto& [last, classes] :
       {std::pair{std::string(), std::int64_t{3}}, std::pair{std::string("Softmax"), std::int64_t{3}},
        std::pair{std::string("LogSoftmax"), std::int64_t{3}},
        std::pair{std::string("Sigmoid"), std::int64_t{3}},
        std::pair{std::string("Sigmoid"), std::int64_t{1}}, std::pair{std::string(), std::int64_t{1}}}) {
    CAPTURE(last);
    CAPTURE(classes);
    const Tensor data = test::random_tensor({kSamples, 6}, 5);
    const std::vector<std::int64_t> wanted = {classes == 1 ? 1 : 2};
    const auto loss = [&](float shift) {
      return audited(model_of(classifier(last, classes, shift)), data, wanted).gradient->mean_loss;
    };
    constexpr float kStep = 0.02F;
    const AuditReport report = audited(model_of(classifier(last, classes, 0.1F)), data, wanted);
    REQUIRE(report.gradient.has_value());
    CHECK(report.gradient->samples == kSamples);
    CHECK(report.gradient->output == "scores");
    const double slope = (loss(0.1F + kStep) - loss(0.1F - kStep)) / (2.0 * double{kStep});
    const ChannelReport& channel = report.layers()[0].channels[0];
    CHECK(channel.gradient.samples_nonzero == 1);
    CHECK(channel.gradient.norm == doctest::Approx(std::abs(slope)).epsilon(5e-3));
    CHECK(std::abs(slope) > 1e-3);
  }
}

TEST_CASE("the loss and the accuracy are those of the scores") {
  const Model model = model_of(classifier("", 3, 0.1F));
  const Tensor data = test::random_tensor({50, 6}, 6);
  const std::vector<std::int64_t> wanted = labels(50, 3);
  const AuditReport report = audited(model, data, wanted);
  const Tensor scores = Session(model, {.input_shapes = {{"x", {50, 6}}}}).run({{"x", data}}).at("scores");
  double loss = 0.0;
  int correct = 0;
  for (std::size_t s = 0; s < 50; ++s) {
    const auto row = scores.data<float>().subspan(s * 3, 3);
    double sum = 0.0;
    for (const float score : row) sum += std::exp(double{score});
    loss += std::log(sum) - double{row[static_cast<std::size_t>(wanted[s])]};
    correct += std::max_element(row.begin(), row.end()) - row.begin() == wanted[s] ? 1 : 0;
  }
  CHECK(report.gradient->labelled == 50);
  CHECK(report.gradient->correct == correct);
  CHECK(report.gradient->mean_loss == doctest::Approx(loss / 50.0));
  CHECK(report.gradient->loss == "cross-entropy of softmax");
  // Probabilities made by hand are known for what they are.
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 6});
  const ValueId h = dense(b, x, "h", 6, 4, "Tanh", {0.1F}, 0.7F, 1);
  const ValueId e = b.op("Exp", "e", {dense(b, h, "z", 4, 3, "", {}, 1.0F, 2)});
  const ValueId s =
      b.op("ReduceSum", "s", {e, b.constant("axes", Tensor(Shape{1}, std::vector<std::int64_t>{1}))});
  b.output(b.op("Div", "p", {e, s}));
  const AuditReport by_hand = audited(model_of(b), data, wanted);
  CHECK(by_hand.gradient->loss == "cross-entropy of probabilities");
  CHECK(by_hand.gradient->mean_loss == doctest::Approx(report.gradient->mean_loss).epsilon(1e-4));
  CHECK(by_hand.gradient->correct == correct);
  for (std::size_t c = 0; c < 4; ++c) {
    CHECK(by_hand.layers()[0].channels[c].gradient.norm ==
          doctest::Approx(report.layers()[0].channels[c].gradient.norm).epsilon(1e-3));
  }
}

TEST_CASE("a dead channel gets a gradient from no sample, and neither does one that nobody reads") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 2, 4, 4});
  Tensor shift(DataType::Float32, {5});
  shift.data<float>()[1] = -100.0F;
  shift.data<float>()[3] = 5.0F;
  const ValueId c =
      b.op("Conv", "c_z",
           {x, b.constant("cw", test::random_tensor({5, 2, 3, 3}, 1)), b.constant("cb", std::move(shift))});
  const ValueId r = b.op("Relu", "c", {c});
  const ValueId f = b.op("Flatten", "f", {r});
  Tensor weights = test::random_tensor({20, 3}, 2);
  for (std::size_t i = 4 * 4 * 3; i < 5 * 4 * 3; ++i)
    weights.data<float>()[i] = 0.0F;  // nobody reads channel 4
  b.output(b.op("MatMul", "scores", {f, b.constant("w", std::move(weights))}));
  const AuditReport report = audited(model_of(b), test::random_tensor({40, 2, 4, 4}, 3), labels(40, 3));
  const LayerReport& layer = report.layers()[0];
  for (const std::size_t none : {1UL, 4UL}) {
    CHECK(layer.channels[none].gradient.samples == 40);
    CHECK(layer.channels[none].gradient.samples_nonzero == 0);
    CHECK(layer.channels[none].gradient.norm == 0.0);
  }
  CHECK(layer.channels[4].statistics.samples_fired > 0);
  CHECK(layer.channels[3].gradient.samples_nonzero == 40);
  CHECK(layer.channels[0].gradient.samples_nonzero > 20);
  // A ReLU passes the gradient where it fires, and nowhere else.
  for (const ChannelReport& channel : layer.channels)
    CHECK(channel.gradient.samples_nonzero <= channel.statistics.samples_fired);
  CHECK_FALSE(layer.gradient->vanishing);
  const std::string text = to_text(report);
  CHECK(text.find("no sample brings a gradient to 2 of 5 channels (1, 4)") != std::string::npos);
  CHECK(text.find("40 samples") != std::string::npos);
}

TEST_CASE("a stack of sigmoids is named where its gradient vanishes, one of ReLUs is not") {
  for (const std::string activation : {"Sigmoid", "Relu"}) {
    GraphBuilder b;
    ValueId x = b.input("x", DataType::Float32, {-1, 16});
    for (int layer = 0; layer < 8; ++layer) {
      // Uniform with the variance 2/n of He's initialisation.
      x = dense(b, x, "h" + std::to_string(layer), 16, 16, activation, {}, 0.61F,
                static_cast<std::uint64_t>(10 + layer));
    }
    b.output(dense(b, x, "scores", 16, 4, "", {}, 0.6F, 30));
    const AuditReport report = audited(model_of(b), test::random_tensor({64, 16}, 4), labels(64, 4));
    const bool sigmoid = activation == "Sigmoid";
    CHECK(report.layers()[0].gradient->vanishing == sigmoid);
    CHECK_FALSE(report.layers()[7].gradient->vanishing);
    CHECK(report.layers()[7].gradient->ratio == 1.0);
    const std::string text = to_text(report);
    CHECK((text.find("h0_node: the gradient vanishes") != std::string::npos) == sigmoid);
    CHECK((text.find("Layers whose gradient vanishes") != std::string::npos) == sigmoid);
    for (std::size_t layer = 1; sigmoid && layer < 8; ++layer)
      CHECK(report.layers()[layer - 1].gradient->norm < report.layers()[layer].gradient->norm);
  }
}

TEST_CASE("saturated activations are named with the share of their values") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 6});
  const ValueId h = dense(b, x, "h", 6, 8, "Tanh", {}, 60.0F, 1);
  const ValueId k = dense(b, h, "k", 8, 8, "Tanh", {}, 0.3F, 2);
  b.output(dense(b, k, "scores", 8, 3, "", {}, 1.0F, 3));
  const AuditReport report = audited(model_of(b), test::random_tensor({100, 6}, 4), labels(100, 3));
  CHECK(report.layers()[0].gradient->saturated > 0.8);
  CHECK(report.layers()[1].gradient->saturated == 0.0);
  const std::string text = to_text(report);
  CHECK(text.find("of its values lie where Tanh is flat") != std::string::npos);
}

TEST_CASE("labels that do not fit are refused, with what would") {
  const Model model = model_of(classifier("", 3, 0.1F));
  const Tensor data = test::random_tensor({10, 6}, 6);
  CHECK_THROWS_WITH_AS((void)audited(model, data, labels(9, 3)), doctest::Contains("9 labels for 10 samples"),
                       Error);
  std::vector<std::int64_t> wrong = labels(10, 3);
  wrong[4] = 3;
  CHECK_THROWS_WITH_AS((void)audited(model, data, wrong), doctest::Contains("classes from 0 to 2"), Error);
  wrong[4] = -1;
  CHECK_THROWS_AS((void)audited(model, data, wrong), Error);
  GraphBuilder image;
  const ValueId x = image.input("x", DataType::Float32, {-1, 2, 4, 4});
  image.output(image.op("Relu", "y", {x}));
  CHECK_THROWS_WITH_AS((void)audited(model_of(image), test::random_tensor({2, 2, 4, 4}, 1), {0, 1}),
                       doctest::Contains("one floating-point score per class"), Error);
}

TEST_CASE("where no derivative rule leads there is no gradient, and that is said") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 6});
  const ValueId h = dense(b, x, "h", 6, 4, "Relu", {}, 1.0F, 1);
  const ValueId c = b.op("CumSum", "c", {h, b.constant("axis", Tensor::scalar<std::int64_t>(1))});
  const ValueId k = dense(b, c, "k", 4, 4, "Relu", {}, 1.0F, 2);
  b.output(dense(b, k, "scores", 4, 3, "", {}, 1.0F, 3));
  const AuditReport report = audited(model_of(b), test::random_tensor({20, 6}, 4), labels(20, 3));
  CHECK_FALSE(report.layers()[0].gradient.has_value());
  CHECK(report.layers()[0].channels[0].gradient.samples == 0);
  REQUIRE(report.layers()[1].gradient.has_value());
  CHECK(report.layers()[1].gradient->norm > 0.0);
  CHECK(to_text(report).find("CumSum (c_node)") != std::string::npos);
}

TEST_CASE("the gradient view comes back from JSON as it was") {
  const AuditReport report =
      audited(model_of(classifier("Softmax", 3, 0.1F)), test::random_tensor({30, 6}, 6), labels(30, 3));
  const std::string json = to_json(report);
  const AuditReport back = report_from_json(json);
  CHECK(to_json(back) == json);
  REQUIRE(back.gradient.has_value());
  CHECK(back.gradient->correct == report.gradient->correct);
  CHECK(back.layers()[0].gradient->norm == report.layers()[0].gradient->norm);
}
