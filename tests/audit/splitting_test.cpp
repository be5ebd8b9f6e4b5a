#include "audit/splitting.hpp"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/audit.hpp>

#include "runtime/session_impl.hpp"
#include "support/graph_builder.hpp"
#include "support/memory_samples.hpp"
#include "support/model_of.hpp"
#include "support/random_tensor.hpp"
#include "support/tensor_of.hpp"

using namespace ember;
using namespace ember::auditing;
using graph::ValueId;
using test::GraphBuilder;
using test::MemorySamples;
using test::model_of;
using test::tensor_of;

namespace {

ValueId relu(GraphBuilder& b, ValueId x, const std::string& name, const Shape& shape,
             const std::vector<float>& weights, const std::vector<float>& bias) {
  const ValueId z =
      b.op("Gemm", name + "_z",
           {x, b.constant(name + "_w", tensor_of<float>(shape, weights)),
            b.constant(name + "_b", tensor_of<float>({static_cast<std::int64_t>(bias.size())}, bias))});
  return b.op("Relu", name, {z});
}

InputDomain box(const std::vector<float>& lower, const std::vector<float>& upper) {
  const auto n = static_cast<std::int64_t>(lower.size());
  return {.lower = tensor_of<float>({n}, lower), .upper = tensor_of<float>({n}, upper), .source = "box"};
}

}  // namespace

TEST_CASE("a claim whose domain cannot be split any further is not proved") {
  // x − 1 fires at the upper end of the domain, between whose ends there is no float.
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {1, 1});
  const ValueId h = relu(b, x, "h", {1, 1}, {1.0F}, {0.0F});
  b.output(relu(b, h, "y", {1, 1}, {1.0F}, {-1.0F}));
  const Model model = model_of(b);
  MemorySamples samples(tensor_of<float>({3, 1}, {1.0F, 1.0F, 1.0F}));
  AuditReport report = audit(model, samples);
  REQUIRE(report.layers()[1].channels[0].verdict == Verdict::Silent);
  const Formulas formulas(model, {{"x", {1, 1}}});
  const std::vector<Claim> claims = claims_of(report, *runtime::optimized_graph(model), formulas);
  const Domain domain{
      .lower = {1.0F}, .upper = {std::nextafter(1.0F, 2.0F)}, .source = "", .from_data = false};
  SerialParallel serial;
  const AllBounds bounds = propagate(formulas, {input_bounds(domain, 1)}, serial);
  Splitter splitter(formulas, domain, bounds, claims);
  int proved = 0;
  for (int round = 0; round < 3; ++round) {
    splitter.advance(
        Claim::Kind::Dead, serial, [] { return false; }, [&](std::size_t) { ++proved; },
        [](std::size_t, std::vector<float>) {});
  }
  CHECK(proved == 0);
}

TEST_CASE("splitting proves that channels are always on where bounds of the whole domain do not") {
  // A tent: relu(x) − 2 relu(x − 0.5) is at most 0.5, which linear bounds of all of [−1, 1] take for 1.
  GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 1});
  const ValueId h = relu(b, x, "h", {1, 2}, {1, 1}, {0, -0.5F});
  // 0.8 less the tent is always on; 0.45 less the tent is on in the data and off at the tent's top.
  b.output(relu(b, h, "m", {2, 2}, {-1, -1, 2, 2}, {0.8F, 0.45F}));
  const Model model = model_of(b);
  MemorySamples samples(test::random_tensor({200, 1}, 3, -0.3F, 0.3F));
  AuditOptions options;
  options.domain = box({-1}, {1});
  options.time_limit = 20.0;
  const AuditReport report = audit(model, samples, options);
  const LayerReport& layer = report.layers()[1];
  CHECK(layer.channels[0].verdict == Verdict::AlwaysOn);
  CHECK(layer.channels[0].proof == Proof::Splitting);
  CHECK(layer.channels[1].verdict == Verdict::AlwaysOn);
  CHECK(layer.channels[1].proof == Proof::None);
  CHECK(report.proof->always_on_refuted == 1);
  CHECK(report.proof->complete);
  CHECK(to_text(report).find("switched off by some input of the domain") != std::string::npos);
}
