#include <doctest/doctest.h>

#include <cmath>

#include <ember/error.hpp>

#include "support/random_tensor.hpp"
#include "support/run_op.hpp"

using namespace ember;
using ember::test::elements_of;
using ember::test::run_op;

namespace {

using Floats = std::vector<float>;
using Strings = std::vector<std::string>;

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

Tensor lengths(const std::vector<std::int32_t>& values) {
  return {Shape{static_cast<std::int64_t>(values.size())}, values};
}

}  // namespace

TEST_CASE("LSTM: two steps of one unit, with bias and peepholes, by the formulas") {
  const std::vector<double> w{0.5, -0.4, 0.3, 0.9}, r{0.1, 0.2, -0.3, 0.4}, wb{0.01, 0.02, 0.03, 0.04},
      rb{0.1, 0.2, 0.3, 0.4}, p{0.6, -0.7, 0.8}, x{1.0, -2.0};
  double h = 0.25, c = -0.5;
  std::vector<double> expected;
  for (const double in : x) {
    const auto pre = [&](std::size_t g) { return w[g] * in + r[g] * h + wb[g] + rb[g]; };
    const double i = sigmoid(pre(0) + p[0] * c);
    const double f = sigmoid(pre(2) + p[2] * c);
    const double next = f * c + i * std::tanh(pre(3));
    const double o = sigmoid(pre(1) + p[1] * next);
    c = next;
    h = o * std::tanh(c);
    expected.push_back(h);
  }
  const auto out =
      run_op("LSTM", 14,
             {Tensor({2, 1, 1}, Floats{1, -2}), Tensor({1, 4, 1}, Floats{0.5F, -0.4F, 0.3F, 0.9F}),
              Tensor({1, 4, 1}, Floats{0.1F, 0.2F, -0.3F, 0.4F}),
              Tensor({1, 8}, Floats{0.01F, 0.02F, 0.03F, 0.04F, 0.1F, 0.2F, 0.3F, 0.4F}), Tensor(),
              Tensor({1, 1, 1}, Floats{0.25F}), Tensor({1, 1, 1}, Floats{-0.5F}),
              Tensor({1, 3}, Floats{0.6F, -0.7F, 0.8F})},
             {}, 3);
  CHECK(out[0].shape() == Shape{2, 1, 1, 1});
  for (std::size_t t = 0; t < 2; ++t) CHECK(out[0].data<float>()[t] == doctest::Approx(expected[t]));
  CHECK(out[1].data<float>()[0] == doctest::Approx(h));
  CHECK(out[2].data<float>()[0] == doctest::Approx(c));
}

TEST_CASE("LSTM: input_forget couples the input gate, clip bounds what activations see") {
  const Tensor x({1, 1, 1}, Floats{10});
  const Tensor w({1, 4, 1}, Floats{1, 1, 1, 1});
  const Tensor r({1, 4, 1}, Floats{0, 0, 0, 0});
  const Tensor c0({1, 1, 1}, Floats{0.5F});
  const auto out = run_op("LSTM", 7, {x, w, r, Tensor(), Tensor(), Tensor(), c0},
                          {{"clip", 0.5F}, {"input_forget", std::int64_t{1}}}, 3);
  const double gate = sigmoid(0.5);
  const double c = gate * 0.5 + (1 - gate) * std::tanh(0.5);
  CHECK(out[2].data<float>()[0] == doctest::Approx(c));
  CHECK(out[1].data<float>()[0] == doctest::Approx(gate * std::tanh(std::min(c, 0.5))));
}

TEST_CASE("GRU: the reset gate acts before or after the recurrent product") {
  const double x = 0.7, h = 0.3;
  const Floats w{0.5F, -0.4F, 0.9F}, r{0.1F, 0.2F, 0.8F}, b{0.01F, 0.02F, 0.03F, 0.1F, 0.2F, 0.3F};
  const double z = sigmoid(0.5 * x + 0.1 * h + 0.01 + 0.1);
  const double reset = sigmoid(-0.4 * x + 0.2 * h + 0.02 + 0.2);
  for (const bool linear_first : {false, true}) {
    const double recurrent = linear_first ? reset * (0.8 * h + 0.3) : 0.8 * (reset * h) + 0.3;
    const double candidate = std::tanh(0.9 * x + 0.03 + recurrent);
    const auto out = run_op("GRU", 14,
                            {Tensor({1, 1, 1}, Floats{0.7F}), Tensor({1, 3, 1}, w), Tensor({1, 3, 1}, r),
                             Tensor({1, 6}, b), Tensor(), Tensor({1, 1, 1}, Floats{0.3F})},
                            {{"linear_before_reset", std::int64_t{linear_first}}}, 2);
    CHECK(out[1].data<float>()[0] == doctest::Approx((1 - z) * candidate + z * h));
  }
}

TEST_CASE("RNN: both directions keep to each sequence's length, the rest of Y is zero") {
  // h' = 1·x + 1·h with the Affine activation (alpha 1, beta 0): running sums.
  const Tensor x({3, 2, 1}, Floats{1, 10, 2, 20, 3, 30});
  const Tensor one({2, 1, 1}, Floats{1, 1});
  const auto out = run_op("RNN", 14, {x, one, one, Tensor(), lengths({2, 3})},
                          {{"direction", std::string("bidirectional")},
                           {"hidden_size", std::int64_t{1}},
                           {"activations", Strings{"Affine", "affine"}}},
                          2);
  // Y is [steps][direction][batch].
  CHECK(elements_of<float>(out[0]) == Floats{1, 10, 3, 60, 3, 30, 2, 50, 0, 60, 0, 30});
  CHECK(elements_of<float>(out[1]) == Floats{3, 60, 3, 60});
}

TEST_CASE("RNN: alpha and beta go to the functions that take them, in order") {
  const Tensor x({1, 1, 1}, Floats{2});
  const Tensor w({2, 1, 1}, Floats{1, 1});
  const Tensor r({2, 1, 1}, Floats{0, 0});
  const auto run = [&](const Strings& names, const Floats& alphas, const Floats& betas) {
    return elements_of<float>(run_op("RNN", 14, {x, w, r},
                                     {{"direction", std::string("bidirectional")},
                                      {"activations", names},
                                      {"activation_alpha", alphas},
                                      {"activation_beta", betas}})[0]);
  };
  CHECK(run({"Relu", "Affine"}, {3}, {0.5F}) == Floats{2, 6.5F});
  CHECK(run({"ThresholdedRelu", "HardSigmoid"}, {2.5F, 0.125F}, {0.25F}) == Floats{0, 0.5F});
  CHECK(run({"LeakyRelu", "Softsign"}, {}, {})[1] == doctest::Approx(2.0 / 3.0));
  CHECK_THROWS_AS(run({"Relu", "Nope"}, {}, {}), Error);
  CHECK_THROWS_AS(run({"Relu"}, {}, {}), Error);
}

TEST_CASE("layout 1 is layout 0 with batch first") {
  const std::int64_t steps = 3, batch = 2, inputs = 4, hidden = 5;
  const Tensor x = test::random_tensor({steps, batch, inputs}, 1);
  Tensor xb(DataType::Float32, {batch, steps, inputs});
  for (std::int64_t t = 0; t < steps; ++t) {
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t i = 0; i < inputs; ++i) {
        xb.data<float>()[static_cast<std::size_t>((b * steps + t) * inputs + i)] =
            x.data<float>()[static_cast<std::size_t>((t * batch + b) * inputs + i)];
      }
    }
  }
  const Tensor w = test::random_tensor({1, 4 * hidden, inputs}, 2);
  const Tensor r = test::random_tensor({1, 4 * hidden, hidden}, 3);
  const auto plain = run_op("LSTM", 14, {x, w, r}, {{"direction", std::string("reverse")}}, 3);
  const auto first =
      run_op("LSTM", 14, {xb, w, r}, {{"direction", std::string("reverse")}, {"layout", std::int64_t{1}}}, 3);
  CHECK(first[0].shape() == Shape{batch, steps, 1, hidden});
  CHECK(first[1].shape() == Shape{batch, 1, hidden});
  CHECK(elements_of<float>(first[1]) == elements_of<float>(plain[1]));
  CHECK(elements_of<float>(first[2]) == elements_of<float>(plain[2]));
}

TEST_CASE("recurrent cells refuse shapes and lengths that do not fit") {
  const Tensor x({1, 1, 2}, Floats{1, 2});
  const Tensor w({1, 1, 2}, Floats{1, 1});
  const Tensor r({1, 1, 1}, Floats{1});
  CHECK_THROWS_AS(run_op("RNN", 14, {x, r, r}), Error);
  CHECK_THROWS_AS(run_op("RNN", 14, {x, w, r, Tensor({1, 1}, Floats{1})}), Error);
  CHECK_THROWS_AS(run_op("RNN", 14, {x, w, r, Tensor(), lengths({2})}), Error);
  CHECK_THROWS_AS(run_op("RNN", 14, {x, w, r, Tensor(), lengths({-1})}), Error);
  CHECK_THROWS_AS(run_op("LSTM", 14, {x, w, r}), Error);
}
