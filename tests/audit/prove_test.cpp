#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/audit.hpp>
#include <ember/npy.hpp>
#include <ember/session.hpp>

#include "support/graph_builder.hpp"
#include "support/memory_samples.hpp"
#include "support/model_of.hpp"
#include "support/random_tensor.hpp"
#include "support/scratch_folder.hpp"
#include "support/tensor_of.hpp"

using namespace ember;
using graph::ValueId;
using test::GraphBuilder;
using test::MemorySamples;
using test::model_of;
using test::tensor_of;

namespace {

/// x · w + b, then Relu. `weights` by output unit.
ValueId dense(GraphBuilder& b, ValueId x, const std::string& name,
              const std::vector<std::vector<float>>& weights, const std::vector<float>& bias) {
  std::vector<float> flat;
  for (const auto& row : weights) flat.insert(flat.end(), row.begin(), row.end());
  const auto out = static_cast<std::int64_t>(weights.size());
  const auto in = static_cast<std::int64_t>(weights[0].size());
  const ValueId z = b.op("Gemm", name + "_z",
                         {x, b.constant(name + "_w", tensor_of<float>({out, in}, flat)),
                          b.constant(name + "_b", tensor_of<float>({out}, bias))},
                         {{"transB", std::int64_t{1}}});
  return b.op("Relu", name, {z});
}

InputDomain box(float lower, float upper) {
  return {.lower = tensor_of<float>({}, {lower}), .upper = tensor_of<float>({}, {upper}), .source = "box"};
}

const ChannelReport& channel(const AuditReport& report, std::size_t layer, std::size_t index) {
  return report.layers().at(layer).channels.at(index);
}

using enum Verdict;

}  // namespace

TEST_CASE("weights that cannot be positive on inputs that cannot be negative need no domain") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 3});
  const ValueId h = dense(b, x, "h", {{1, 2, 3}, {-1, 1, -1}}, {0, 0.1F});
  b.output(dense(b, h, "y", {{-1, -2}, {-1, 2}, {0, -1}, {-1, -1}}, {0, -100, 0.0F, -0.5F}));
  MemorySamples samples(test::random_tensor({200, 3}, 1));
  const AuditReport report = audit(model_of(b), samples);
  for (const std::size_t dead : {0UL, 2UL, 3UL}) {
    CHECK(channel(report, 1, dead).verdict == ProvedDead);
    CHECK(channel(report, 1, dead).proof == Proof::Sign);
  }
  CHECK(channel(report, 1, 1).verdict == Silent);
  CHECK(channel(report, 1, 1).rate_bound > 0.0);
  CHECK_FALSE(report.proof.has_value());
  CHECK(to_text(report).find("holds for any input whatever") != std::string::npos);
}

TEST_CASE("signs prove nothing of a 3×3 convolution, which may be computed by a transform") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 2, 5, 5});
  const ValueId h = b.op("Relu", "h", {x});
  const ValueId z = b.op("Conv", "z",
                         {h, b.constant("w", test::random_tensor({2, 2, 3, 3}, 1, -2.0F, -1.0F)),
                          b.constant("b", tensor_of<float>({2}, {-1, -1}))});
  b.output(b.op("Relu", "y", {z}));
  MemorySamples samples(test::random_tensor({20, 2, 5, 5}, 1));
  CHECK(audit(model_of(b), samples).layers()[1].count(Silent) == 2);
  // With inputs bounded the transform's error is, too.
  AuditOptions options;
  options.domain = box(-1, 1);
  const AuditReport report = audit(model_of(b), samples, options);
  CHECK(report.layers()[1].count(ProvedDead) == 2);
  CHECK(channel(report, 1, 0).proof == Proof::Interval);
}

TEST_CASE("a transform's error is bounded where all it reads is") {
  // One window reads all of a plane of 3×3, but not all of one of 5×5.
  for (const std::int64_t extent : {3, 5}) {
    GraphBuilder b;
    const ValueId x = b.input("x", DataType::Float32, {-1, 2, extent, extent});
    const ValueId h = b.op("Sigmoid", "h", {x});
    const ValueId z = b.op("Conv", "z",
                           {h, b.constant("w", test::random_tensor({2, 2, 3, 3}, 1)),
                            b.constant("b", tensor_of<float>({2}, {-100, -1000}))});
    b.output(b.op("Relu", "y", {z}));
    MemorySamples samples(test::random_tensor({20, 2, extent, extent}, 1));
    const AuditReport report = audit(model_of(b), samples);
    CHECK(report.layers()[1].count(ProvedDead) == (extent == 3 ? 2 : 0));
  }
}

TEST_CASE("each kind of proof is found where it is needed, and a witness where there is none") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 2});
  // x0, −x0, 2 x0 − 1 and x1 − 0.99, each cut at 0
  const ValueId h = dense(b, x, "h", {{1, 0}, {-1, 0}, {2, 0}, {0, 1}}, {0, 0, -1, -0.99F});
  b.output(dense(b, h, "y",
                 {
                     {-1, 0.05F, 0, 0},  // interval
                     {1, 1, 0, 0},       // |x0| − 1.01: linear bounds know that the two exclude one another
                     {1, 0, -1, 0},      // x0⁺ − (2 x0 − 1)⁺ − 0.6: only on parts of the domain
                     {0, 0, 0, 1},       // (x1 − 0.99)⁺ − 0.005: fires near x1 = 1
                     {1, 0, 0, 1},       // x0⁺ + (x1 − 0.99)⁺ + 1: always on
                 },
                 {-0.1F, -1.01F, -0.6F, -0.005F, 1.0F}));
  const Model model = model_of(b);
  Tensor data = test::random_tensor({500, 2}, 3, -0.9F, 0.9F);
  MemorySamples samples(data);
  AuditOptions options;
  options.domain = box(-1, 1);
  for (const int threads : {1, 2}) {
    options.threads = threads;
    const AuditReport report = audit(model, samples, options);
    CHECK(channel(report, 1, 0).verdict == ProvedDead);
    CHECK(channel(report, 1, 0).proof == Proof::Interval);
    CHECK(channel(report, 1, 0).bound_upper == doctest::Approx(-0.05));
    CHECK(channel(report, 1, 1).verdict == ProvedDead);
    CHECK(channel(report, 1, 1).proof == Proof::Substitution);
    CHECK(channel(report, 1, 2).verdict == ProvedDead);
    CHECK(channel(report, 1, 2).proof == Proof::Splitting);
    CHECK(channel(report, 1, 4).verdict == AlwaysOn);
    CHECK(channel(report, 1, 4).proof == Proof::Interval);
    REQUIRE(channel(report, 1, 3).verdict == Refuted);
    CHECK(report.count(Silent) == 0);
    CHECK(report.proof->complete);
    CHECK(report.proof->samples_outside == 0);

    const Witness& witness = report.witnesses.at(static_cast<std::size_t>(channel(report, 1, 3).witness));
    CHECK(witness.channel == 3);
    CHECK(witness.node == "y_node");
    CHECK(witness.value > 0.0);
    const float x1 = witness.input.data<float>()[1];
    CHECK(x1 <= 1.0F);
    CHECK(x1 > 0.995F);
    const TensorMap outputs = Session(model).run({{"x", witness.input}});
    CHECK(double{outputs.at("y").data<float>()[3]} == witness.value);
  }
}

TEST_CASE("the range of the data is a domain of its own, and is said to be one") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 2});
  b.output(dense(b, x, "y", {{1, 0}, {1, 1}}, {-0.95F, -1.5F}));
  MemorySamples samples(tensor_of<float>({4, 2}, {0.9F, 0, 0, 0.8F, 0.1F, 0.1F, 0.5F, 0.5F}));
  AuditOptions options;
  options.domain_from_data = true;
  const AuditReport report = audit(model_of(b), samples, options);
  CHECK(channel(report, 0, 0).verdict == ProvedDead);
  CHECK(channel(report, 0, 1).verdict == Refuted);
  CHECK(report.proof->from_data);
  CHECK(report.proof->upper == doctest::Approx(0.9));
  CHECK(to_text(report).find("by the range of the data") != std::string::npos);
  CHECK(to_json(report).find("\"from_data\": true") != std::string::npos);
}

TEST_CASE("samples outside the domain may fire what cannot fire inside") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 1});
  b.output(dense(b, x, "y", {{1}, {1}}, {-2, -9}));
  MemorySamples samples(tensor_of<float>({4, 1}, {0.5F, 3.0F, 0.1F, 4.0F}));
  AuditOptions options;
  options.domain = box(0, 1);
  const AuditReport report = audit(model_of(b), samples, options);
  CHECK(channel(report, 0, 0).verdict == Healthy);
  CHECK(channel(report, 0, 1).verdict == ProvedDead);
  CHECK(report.proof->samples_outside == 2);
  CHECK(report.proof->channels_contradicted == 1);
}

TEST_CASE("rounding is not in favour of a proof") {
  // 0.1 + 0.2 − 0.3 is not 0 in float32: a unit that exact arithmetic holds for dead fires.
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 2});
  b.output(dense(b, x, "y", {{0.1F, 0.2F}}, {-0.3F}));
  const Model model = model_of(b);
  MemorySamples samples(tensor_of<float>({1, 2}, {0.0F, 0.0F}));
  AuditOptions options;
  options.domain = box(0, 1);
  const AuditReport report = audit(model, samples, options);
  CHECK(channel(report, 0, 0).verdict != ProvedDead);
  CHECK(channel(report, 0, 0).bound_upper > 0.0);
  CHECK(channel(report, 0, 0).bound_upper < 1e-6);
}

TEST_CASE("a domain that does not fit is refused") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 2});
  b.output(dense(b, x, "y", {{1, 1}}, {0}));
  const Model model = model_of(b);
  MemorySamples samples(test::random_tensor({10, 2}, 1));
  AuditOptions options;
  const auto refuses = [&](const InputDomain& domain, const char* why) {
    options.domain = domain;
    CHECK_THROWS_WITH_AS(audit(model, samples, options), doctest::Contains(why), Error);
  };
  refuses(box(1, -1), "the domain is empty");
  refuses(box(-1, std::numeric_limits<float>::infinity()), "not finite");
  refuses({.lower = tensor_of<float>({3}, {0, 0, 0}), .upper = tensor_of<float>({}, {1}), .source = "box"},
          "3 elements");
  options.domain = box(0, 1);
  options.domain_from_data = true;
  CHECK_THROWS_AS(audit(model, samples, options), Error);
}

TEST_CASE("a domain is read from a file, rounded outwards") {
  const test::ScratchFolder folder;
  Tensor lower(DataType::Float64, {2});
  lower.data<double>()[0] = -0.1;
  Tensor upper(DataType::Float64, {2});
  upper.data<double>()[1] = 0.3;
  std::map<std::string, Tensor> arrays;
  arrays.emplace("lower", lower);
  save_npz(folder.path() / "half.npz", arrays);
  CHECK_THROWS_WITH_AS(InputDomain::load(folder.path() / "half.npz"), doctest::Contains("no array 'upper'"),
                       Error);
  arrays.emplace("upper", upper);
  save_npz(folder.path() / "domain.npz", arrays);
  const InputDomain domain = InputDomain::load(folder.path() / "domain.npz");
  CHECK(static_cast<double>(domain.lower.data<float>()[0]) <= -0.1);
  CHECK(static_cast<double>(domain.upper.data<float>()[1]) >= 0.3);
}

TEST_CASE(
    "what LayerNormalization can reach is bounded by the length of its runs and by the order of its "
    "elements") {
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 4});
  const ValueId n = b.op("LayerNormalization", "n",
                         {x, b.constant("scale", tensor_of<float>({4}, {1, 1, 1, 1})),
                          b.constant("shift", tensor_of<float>({4}, {0, -2.1F, -1.5F, 0}))});
  b.output(b.op("Relu", "y", {n}));
  // Channel 3 always lies below the others. One of four elements can be sqrt(3) deviations from the mean at
  // most.
  Tensor data = test::random_tensor({50, 4}, 3, 0.4F, 0.6F);
  for (std::size_t s = 0; s < 50; ++s) data.data<float>()[4 * s + 3] = -0.7F;
  MemorySamples samples(data);
  AuditOptions options;
  options.domain = InputDomain{.lower = tensor_of<float>({4}, {0, 0, 0, -1}),
                               .upper = tensor_of<float>({4}, {1, 1, 1, -0.5F}),
                               .source = "box"};
  options.explain = false;
  const AuditReport report = audit(model_of(b), samples, options);
  CHECK(channel(report, 0, 0).statistics.samples_fired == 50);
  CHECK(channel(report, 0, 1).verdict == ProvedDead);
  CHECK(channel(report, 0, 3).verdict == ProvedDead);
  CHECK(channel(report, 0, 1).proof == Proof::Interval);
  CHECK(channel(report, 0, 2).verdict != ProvedDead);
  CHECK(report.notes.empty());
}
