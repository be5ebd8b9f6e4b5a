#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/audit.hpp>

#include "support/graph_builder.hpp"
#include "support/memory_samples.hpp"
#include "support/model_of.hpp"
#include "support/random_tensor.hpp"
#include "support/tensor_of.hpp"

using namespace ember;
using graph::ValueId;
using test::GraphBuilder;
using test::MemorySamples;
using test::model_of;
using test::tensor_of;

namespace {

/// x · w + b for channel i of a rank-4 input of one channel, by a 1×1 convolution; `op` behind it.
struct Affine {
  float weight, bias;
};
GraphBuilder affine_network(const std::vector<Affine>& channels, const std::string& op,
                            GraphBuilder::Attributes attributes = {}, std::int64_t batch = -1) {
  GraphBuilder builder;
  const auto n = static_cast<std::int64_t>(channels.size());
  const ValueId x = builder.input("x", DataType::Float32, {batch, 1, 3, 3});
  Tensor w(DataType::Float32, {n, 1, 1, 1}), b(DataType::Float32, {n});
  for (std::size_t i = 0; i < channels.size(); ++i) {
    w.data<float>()[i] = channels[i].weight;
    b.data<float>()[i] = channels[i].bias;
  }
  const ValueId z = builder.op("Conv", "z", {x, builder.constant("w", w), builder.constant("b", b)});
  const ValueId y = builder.op(op, "y", {z}, std::move(attributes));
  builder.output(builder.op("GlobalAveragePool", "pooled", {y}));
  return builder;
}

std::vector<Verdict> verdicts(const LayerReport& layer) {
  std::vector<Verdict> result;
  for (const ChannelReport& channel : layer.channels) result.push_back(channel.verdict);
  return result;
}

using enum Verdict;

}  // namespace

TEST_CASE("planted channels of a ReLU layer get their verdicts, at every batch size and thread count") {
  // Inputs lie in [-1, 1), but one sample in 1,200 holds a 5.
  Tensor data = test::random_tensor({1200, 1, 3, 3}, 1);
  data.data<float>()[700 * 9 + 4] = 5.0F;
  const Model model = model_of(
      affine_network({{1, 0}, {1, -20}, {1, -4}, {1, 8}, {1e-7F, 1e-7F}, {0, 3}, {0, -1}, {-1, 0}}, "Relu"));
  const std::vector<Verdict> want = {Healthy, Silent, Rare, AlwaysOn, Dormant, Constant, ProvedDead, Healthy};
  AuditOptions options;
  options.dormant_tau = 0.001;
  for (const auto& [batch, threads] : {std::pair{0L, 1}, {1L, 1}, {7L, 2}, {1200L, 2}}) {
    MemorySamples samples(data);
    options.batch = batch;
    options.threads = threads;
    const AuditReport report = audit(model, samples, options);
    REQUIRE(report.layers().size() == 1);
    const LayerReport& layer = report.layers()[0];
    CHECK(verdicts(layer) == want);
    CHECK(report.samples == 1200);
    CHECK(report.channels() == 8);
    CHECK(report.count(Silent) == 1);
    CHECK(layer.op == "Relu");
    CHECK(layer.node == "y_node");
    CHECK(layer.channels[0].statistics.samples == 1200);
    CHECK(layer.channels[0].statistics.positions == 1200 * 9);
    CHECK(layer.channels[2].statistics.samples_fired == 1);
    CHECK(layer.channels[2].statistics.positions_fired == 1);
    // 0 of 1,200 for 8 channels at 95%: the rule of three with 0.05 / 8.
    CHECK(layer.channels[1].rate_bound == doctest::Approx(1 - std::pow(0.05 / 8, 1.0 / 1200)));
    CHECK(report.notes.empty());
  }
}

TEST_CASE("reports have the same bits at any batch size and thread count") {
  const Tensor data = test::random_tensor({37, 1, 3, 3}, 2);
  const Model model = model_of(affine_network({{1, 0}, {2, -1}, {-1, 0.5F}}, "Relu"));
  std::string first;
  for (const auto& [batch, threads] : {std::pair{1L, 1}, {37L, 2}, {10L, 2}}) {
    MemorySamples samples(data);
    AuditOptions options;
    options.batch = batch;
    options.threads = threads;
    const std::string json = to_json(audit(model, samples, options));
    if (first.empty()) first = json;
    CHECK(json == first);
  }
}

TEST_CASE("counting alone sees the same firing, and claims nothing that it did not look at") {
  // Fires always; never; always, beyond 6; seldom; is 3 throughout; next to nothing.
  const std::vector<Affine> channels = {{1, 3}, {1, -5}, {1, 9}, {-4, 1}, {0, 3}, {1e-9F, 0}};
  for (const char* op : {"Relu", "LeakyRelu", "Sigmoid"}) {
    const Model model = model_of(affine_network(channels, op));
    MemorySamples data(test::random_tensor({40, 1, 3, 3}, 2, -1.0F, 1.0F));
    const AuditReport all = audit(model, data, {.batch = 7, .explain = false});
    const AuditReport counts = audit(model, data, {.batch = 7, .counts_only = true});
    CHECK(counts.explain_samples == 0);
    CHECK(counts.notes.size() == all.notes.size() + 1);
    for (std::size_t c = 0; c < channels.size(); ++c) {
      const ChannelReport& full = all.layers()[0].channels[c];
      const ChannelReport& counted = counts.layers()[0].channels[c];
      CHECK(counted.statistics.samples == full.statistics.samples);
      CHECK(counted.statistics.samples_fired == full.statistics.samples_fired);
      CHECK(counted.statistics.positions_fired == full.statistics.positions_fired);
      CHECK(counted.statistics.first_fired == full.statistics.first_fired);
      CHECK(std::isnan(counted.statistics.pre_min));
      CHECK(std::isnan(counted.statistics.out_sum));
      CHECK(std::isnan(counted.dormancy));
    }
    if (op == std::string("Relu"))
      CHECK(verdicts(counts.layers()[0]) ==
            std::vector{AlwaysOn, Silent, AlwaysOn, Healthy, AlwaysOn, Healthy});
    if (op == std::string("Sigmoid")) CHECK(counts.count(Healthy) == counts.channels());
  }
}

TEST_CASE("other activations: stuck, saturated, one-sided") {
  const Tensor data = test::random_tensor({50, 1, 3, 3}, 3);
  const auto layer = [&](const GraphBuilder& builder) {
    MemorySamples samples(data);
    const AuditReport report = audit(model_of(builder), samples);
    REQUIRE(report.layers().size() == 1);
    return report.layers()[0];
  };
  CHECK(verdicts(layer(affine_network({{1, 0}, {30, 0}, {1, 10}, {1, -10}, {1, 30}}, "Sigmoid"))) ==
        std::vector{Healthy, Healthy, Saturated, Saturated, Constant});
  CHECK(verdicts(layer(affine_network({{1, 0}, {1, -3}, {1, 3}}, "LeakyRelu", {{"alpha", 0.1F}}))) ==
        std::vector{Healthy, AlwaysOn, AlwaysOn});
  CHECK(verdicts(layer(affine_network({{1, 0}, {1, -9}}, "Elu"))) == std::vector{Healthy, Saturated});
  CHECK(verdicts(layer(affine_network({{1, 0}, {1, -5}}, "HardSwish"))) == std::vector{Healthy, Silent});
  CHECK(verdicts(layer(affine_network({{0, 0}, {1, 0}}, "Tanh"))) == std::vector{Silent, Healthy});
}

TEST_CASE("ReLU6 stuck at 6 is constant, Silu is one activation") {
  GraphBuilder builder;
  const ValueId x = builder.input("x", DataType::Float32, {-1, 4});
  const ValueId w = builder.constant("w", tensor_of<float>({4, 3}, {1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0}));
  const ValueId b = builder.constant("b", tensor_of<float>({3}, {0, 9, -2}));
  const ValueId z = builder.op("Gemm", "z", {x, w, b});
  const ValueId low = builder.constant("low", tensor_of<float>({}, {0}));
  const ValueId high = builder.constant("high", tensor_of<float>({}, {6}));
  const ValueId y = builder.op("Clip", "y", {z, low, high});
  const ValueId s = builder.op("Mul", "s", {y, builder.op("Sigmoid", "gate", {y})});
  builder.output(builder.op("ReduceSum", "sum", {s}, {{"keepdims", std::int64_t{0}}}));
  MemorySamples samples(test::random_tensor({40, 4}, 4));
  const AuditReport report = audit(model_of(builder), samples);
  REQUIRE(report.layers().size() == 2);
  CHECK(report.layers()[0].op == "Clip");
  CHECK(verdicts(report.layers()[0]) == std::vector{Healthy, Constant, ProvedDead});
  CHECK(report.layers()[1].op == "Silu");
  CHECK(report.layers()[1].pattern.size() == 2);
}

TEST_CASE("values that fold the batch into another axis are watched one sample at a time") {
  GraphBuilder builder;
  const ValueId x = builder.input("x", DataType::Float32, {-1, 1, 3, 3});
  const ValueId shape = builder.constant("shape", [] {
    Tensor t(DataType::Int64, {2});
    t.data<std::int64_t>()[0] = -1;
    t.data<std::int64_t>()[1] = 3;
    return t;
  }());
  const ValueId rows = builder.op("Reshape", "rows", {x, shape});
  builder.output(builder.op("Relu", "y", {rows}));
  MemorySamples samples(test::random_tensor({20, 1, 3, 3}, 5));
  AuditOptions options;
  options.batch = 8;
  const AuditReport report = audit(model_of(builder), samples, options);
  REQUIRE(report.channels() == 3);
  CHECK(report.layers()[0].channels[0].statistics.samples == 20);
  CHECK(report.layers()[0].channels[0].statistics.positions == 60);
  CHECK(report.notes.empty());
}

TEST_CASE("a batch fixed by the model is used, its last run filled up but not counted") {
  const Model model = model_of(affine_network({{1, 0}, {1, -9}}, "Relu", {}, 4));
  MemorySamples samples(test::random_tensor({10, 1, 3, 3}, 6));
  const AuditReport report = audit(model, samples);
  CHECK(report.layers()[0].channels[0].statistics.samples == 10);
  CHECK(report.layers()[0].channels[0].statistics.positions == 90);
  AuditOptions options;
  options.batch = 5;
  CHECK_THROWS_AS(audit(model, samples, options), Error);
}

TEST_CASE("NaN in the data is run, counted and reported") {
  Tensor data = test::random_tensor({30, 1, 3, 3}, 7);
  data.data<float>()[12 * 9] = std::numeric_limits<float>::quiet_NaN();
  data.data<float>()[13 * 9] = std::numeric_limits<float>::infinity();
  data.data<float>()[13 * 9 + 1] = std::numeric_limits<float>::infinity();
  MemorySamples samples(data);
  const AuditReport report = audit(model_of(affine_network({{1, 0}, {1, -9}}, "Relu")), samples);
  CHECK(report.samples_not_finite == 2);
  CHECK(report.samples == 30);
  REQUIRE(report.notes.size() == 1);
  CHECK(report.notes[0].find("2 of 30 samples") != std::string::npos);
  const ChannelReport& silent = report.layers()[0].channels[1];
  CHECK(silent.verdict == Silent);
  CHECK(silent.statistics.not_finite == 3);
  CHECK(silent.rate_bound == doctest::Approx(1 - std::pow(0.05 / 2, 1.0 / 27)));
}

TEST_CASE("options limit the samples, report progress, and are checked") {
  const Model model = model_of(affine_network({{1, 0}}, "Relu"));
  MemorySamples samples(test::random_tensor({30, 1, 3, 3}, 8));
  AuditOptions options;
  options.samples = 12;
  options.batch = 5;
  std::vector<std::int64_t> seen;
  options.progress = [&](std::int64_t done, std::int64_t total) {
    CHECK(total == 12);
    seen.push_back(done);
  };
  CHECK(audit(model, samples, options).samples == 12);
  CHECK(seen == std::vector<std::int64_t>{5, 10, 12});
  options.confidence = 1.0;
  CHECK_THROWS_AS(audit(model, samples, options), Error);
  options.confidence = 0.95;
  options.rare_below = -1;
  CHECK_THROWS_AS(audit(model, samples, options), Error);
}

TEST_CASE("what cannot be audited is refused with a reason, and what is not watched is said") {
  GraphBuilder two;
  const ValueId a = two.input("a", DataType::Float32, {1, 2});
  const ValueId b = two.input("b", DataType::Float32, {1, 2});
  two.output(two.op("Add", "sum", {a, b}));
  MemorySamples samples(test::random_tensor({3, 2}, 9));
  CHECK_THROWS_WITH_AS(audit(model_of(two), samples), doctest::Contains("the model has 2"), Error);
  GraphBuilder open;
  open.output(open.op("Relu", "y", {open.input("x", DataType::Float32, {1, -1})}));
  CHECK_THROWS_WITH_AS(audit(model_of(open), samples), doctest::Contains("axis 1"), Error);
  GraphBuilder linear;
  linear.output(linear.op("Neg", "y", {linear.input("x", DataType::Float32, {1, 2})}));
  const AuditReport report = audit(model_of(linear), samples);
  CHECK(report.channels() == 0);
  REQUIRE(report.notes.size() == 1);
  CHECK(report.notes[0].find("no activation") != std::string::npos);
}
