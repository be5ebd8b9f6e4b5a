#include <doctest/doctest.h>

#include "passes/pass_support.hpp"

using namespace ember;
using test::check_pass;
using test::count_op;
using test::GraphBuilder;
using test::random_tensor;

namespace {

using Ints = std::vector<std::int64_t>;

/// BatchNormalization with random parameters behind `x`.
graph::ValueId batch_norm(GraphBuilder& b, graph::ValueId x, std::int64_t channels,
                          GraphBuilder::Attributes attributes = {}) {
  const Shape shape{channels};
  return b.op("BatchNormalization", "normed",
              {x, b.constant("scale", random_tensor(shape, 11, 0.5F, 2.0F)),
               b.constant("shift", random_tensor(shape, 12)), b.constant("mean", random_tensor(shape, 13)),
               b.constant("variance", random_tensor(shape, 14, 0.1F, 3.0F))},
              std::move(attributes));
}

/// x -> Conv or ConvTranspose -> BatchNormalization -> Identity
GraphBuilder conv_net(const std::string& op, const Shape& weight, std::int64_t in, std::int64_t out,
                      std::int64_t groups, bool bias) {
  GraphBuilder b;
  std::vector<graph::ValueId> inputs = {b.input("x", DataType::Float32, {2, in, 6, 5}),
                                        b.constant("w", random_tensor(weight, 1))};
  if (bias) inputs.push_back(b.constant("b", random_tensor(Shape{out}, 2)));
  const auto y = b.op(op, "y", inputs, {{"group", groups}});
  b.output(b.op("Identity", "result", {batch_norm(b, y, out)}));
  return b;
}

GraphBuilder gemm_net(const Shape& weight, GraphBuilder::Attributes attributes, const Shape& bias) {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {3, 7});
  const auto y = b.op("Gemm", "y",
                      {x, b.constant("w", random_tensor(weight, 1)), b.constant("b", random_tensor(bias, 2))},
                      std::move(attributes));
  b.output(batch_norm(b, y, 4));
  return b;
}

}  // namespace

TEST_CASE("BatchNorm folds into Conv with and without bias and groups") {
  for (const std::int64_t groups : {1, 2}) {
    for (const bool bias : {false, true}) {
      CAPTURE(groups);
      CAPTURE(bias);
      GraphBuilder b = conv_net("Conv", Shape{6, 4 / groups, 3, 2}, 4, 6, groups, bias);
      check_pass("batchnorm_folding", b.graph(), 1);
      CHECK(count_op(b.graph(), "BatchNormalization") == 0);
      // The Conv now makes what BatchNorm made, under that name.
      const graph::Graph& g = b.graph();
      CHECK(g.node(g.value(g.find_value("normed")).producer).op == "Conv");
    }
  }
}

TEST_CASE("BatchNorm folds into ConvTranspose with groups") {
  for (const std::int64_t groups : {1, 2}) {
    CAPTURE(groups);
    GraphBuilder b = conv_net("ConvTranspose", Shape{4, 6 / groups, 3, 2}, 4, 6, groups, true);
    check_pass("batchnorm_folding", b.graph(), 1);
    CHECK(count_op(b.graph(), "BatchNormalization") == 0);
  }
}

TEST_CASE("BatchNorm folds into Gemm whatever its factors and bias shape") {
  for (const Shape& bias : {Shape{4}, Shape{1, 4}, Shape{1}, Shape{}}) {
    GraphBuilder rows =
        gemm_net(Shape{4, 7}, {{"transB", std::int64_t{1}}, {"alpha", 0.5F}, {"beta", 2.0F}}, bias);
    check_pass("batchnorm_folding", rows.graph(), 1);
    GraphBuilder columns = gemm_net(Shape{7, 4}, {{"beta", -1.5F}}, bias);
    check_pass("batchnorm_folding", columns.graph(), 1);
  }
}

TEST_CASE("BatchNorm stays where folding would change the meaning") {
  SUBCASE("a bias per row of the batch") {
    GraphBuilder b = gemm_net(Shape{7, 4}, {}, Shape{3, 1});
    check_pass("batchnorm_folding", b.graph(), 0);
  }
  SUBCASE("somebody else reads the convolution") {
    GraphBuilder b = conv_net("Conv", Shape{6, 4, 3, 2}, 4, 6, 1, true);
    b.output(b.graph().find_value("y"));
    check_pass("batchnorm_folding", b.graph(), 0);
  }
  SUBCASE("weights that are no constants") {
    GraphBuilder b;
    const auto x = b.input("x", DataType::Float32, {1, 2, 4, 4});
    const auto w = b.input("w", DataType::Float32, {3, 2, 1, 1});
    b.output(batch_norm(b, b.op("Conv", "y", {x, w}), 3));
    check_pass("batchnorm_folding", b.graph(), 0);
  }
  SUBCASE("a producer that is no linear layer") {
    GraphBuilder b;
    const auto x = b.input("x", DataType::Float32, {1, 3, 4, 4});
    b.output(batch_norm(b, b.op("GlobalAveragePool", "y", {x}), 3));
    check_pass("batchnorm_folding", b.graph(), 0);
  }
}
