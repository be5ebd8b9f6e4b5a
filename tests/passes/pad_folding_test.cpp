#include <doctest/doctest.h>

#include "passes/pass_support.hpp"

using namespace ember;
using test::check_pass;
using test::GraphBuilder;
using test::random_tensor;

namespace {

using Ints = std::vector<std::int64_t>;

Tensor integers(const Ints& values) {
  return Tensor(Shape{static_cast<std::int64_t>(values.size())}, values);
}

/// x [1,2,5,6] -> Pad (opset 17 form) with these inputs
graph::ValueId pad(GraphBuilder& b, const Ints& amounts, GraphBuilder::Attributes attributes = {},
                   float value = 0.0F) {
  const auto x = b.input("x", DataType::Float32, {1, 2, 5, 6});
  return b.op("Pad", "padded",
              {x, b.constant("amounts", integers(amounts)), b.constant("value", Tensor::scalar(value))},
              std::move(attributes));
}

void conv(GraphBuilder& b, graph::ValueId x, GraphBuilder::Attributes attributes = {}) {
  b.output(
      b.op("Conv", "y", {x, b.constant("w", random_tensor(Shape{3, 2, 3, 3}, 4))}, std::move(attributes)));
}

void pool(GraphBuilder& b, graph::ValueId x, GraphBuilder::Attributes attributes = {}) {
  attributes.emplace("kernel_shape", Ints{3, 3});
  b.output(b.op("AveragePool", "y", {x}, std::move(attributes)));
}

}  // namespace

TEST_CASE("zero padding goes into a convolution, on top of its own") {
  GraphBuilder b;
  conv(b, pad(b, {0, 0, 1, 2, 0, 0, 0, 3}), {{"pads", Ints{1, 0, 0, 1}}, {"strides", Ints{2, 1}}});
  check_pass("pad_folding", b.graph(), 1);
  REQUIRE(b.graph().order().size() == 1);
  const auto& attributes = b.graph().node(b.graph().order().front()).attributes;
  CHECK(std::get<Ints>(attributes.at("pads")) == Ints{2, 2, 0, 4});
}

TEST_CASE("padding of opset 10 and padding by axes fold too") {
  GraphBuilder old(10);
  const auto x = old.input("x", DataType::Float32, {1, 2, 5, 6});
  conv(old, old.op("Pad", "padded", {x}, {{"pads", Ints{0, 0, 1, 1, 0, 0, 1, 1}}}),
       {{"auto_pad", std::string("VALID")}});
  check_pass("pad_folding", old.graph(), 1);

  GraphBuilder axes(18);
  const auto z = axes.input("x", DataType::Float32, {1, 2, 5, 6});
  const auto padded = axes.op("Pad", "padded",
                              {z, axes.constant("amounts", integers({2, 1})), graph::kNoValue,
                               axes.constant("axes", integers({-1}))});
  conv(axes, padded);
  check_pass("pad_folding", axes.graph(), 1);
}

TEST_CASE("padding goes into AveragePool where every window keeps its divisor") {
  GraphBuilder plain;
  pool(plain, pad(plain, {0, 0, 1, 1, 0, 0, 1, 1}));
  check_pass("pad_folding", plain.graph(), 1);

  GraphBuilder own;
  pool(own, pad(own, {0, 0, 1, 1, 0, 0, 1, 1}),
       {{"pads", Ints{1, 1, 0, 0}}, {"count_include_pad", std::int64_t{1}}});
  check_pass("pad_folding", own.graph(), 1);
}

TEST_CASE("padding stays where folding would change the meaning") {
  GraphBuilder b;
  SUBCASE("not zeros") { conv(b, pad(b, {0, 0, 1, 1, 0, 0, 1, 1}, {}, 1.5F)); }
  SUBCASE("a reflection") { conv(b, pad(b, {0, 0, 1, 1, 0, 0, 1, 1}, {{"mode", std::string("reflect")}})); }
  SUBCASE("cropping") { conv(b, pad(b, {0, 0, -1, 0, 0, 0, 1, 1})); }
  SUBCASE("pads that follow from the extents") {
    conv(b, pad(b, {0, 0, 1, 1, 0, 0, 1, 1}), {{"auto_pad", std::string("SAME_UPPER")}});
  }
  SUBCASE("an average that leaves its own pads out") {
    pool(b, pad(b, {0, 0, 1, 1, 0, 0, 1, 1}), {{"pads", Ints{1, 1, 0, 0}}});
  }
  SUBCASE("pads as large as the window") { pool(b, pad(b, {0, 0, 3, 0, 0, 0, 0, 0})); }
  SUBCASE("somebody else reads the padded value") {
    const auto padded = pad(b, {0, 0, 1, 1, 0, 0, 1, 1});
    conv(b, padded);
    b.output(padded);
  }
  check_pass("pad_folding", b.graph(), 0);
}
