#include <doctest/doctest.h>

#include "passes/pass_support.hpp"

using namespace ember;
using test::check_pass;
using test::GraphBuilder;
using test::random_tensor;

namespace {

using Ints = std::vector<std::int64_t>;

/// Random filters whose taps outside of multiples of these distances are zero.
Tensor spread(const Shape& shape, std::int64_t rows, std::int64_t columns) {
  Tensor filters = random_tensor(shape, 3);
  const auto data = filters.data<float>();
  for (std::size_t i = 0; i < data.size(); ++i) {
    const std::int64_t column = static_cast<std::int64_t>(i) % shape[3];
    const std::int64_t row = static_cast<std::int64_t>(i) / shape[3] % shape[2];
    if (row % rows != 0 || column % columns != 0) data[i] = 0.0F;
  }
  return filters;
}

/// x [2,4,11,13] -> Conv
GraphBuilder convolution(Tensor filters, GraphBuilder::Attributes attributes) {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2, 4, 11, 13});
  b.output(b.op("Conv", "y", {x, b.constant("w", std::move(filters))}, std::move(attributes)));
  return b;
}

}  // namespace

TEST_CASE("filters with zeros between their taps become dilated ones") {
  GraphBuilder b =
      convolution(spread({4, 1, 9, 9}, 4, 4), {{"group", std::int64_t{4}}, {"pads", Ints{4, 4, 4, 4}}});
  check_pass("dilation_recovery", b.graph(), 1);
  const graph::Node& node = b.graph().node(b.graph().order()[0]);
  CHECK(std::get<Ints>(node.attributes.at("dilations")) == Ints{4, 4});
  CHECK(b.graph().constant(node.inputs[1])->shape() == Shape{4, 1, 3, 3});

  GraphBuilder uneven = convolution(
      spread({3, 4, 3, 7}, 2, 3),
      {{"kernel_shape", Ints{3, 7}}, {"strides", Ints{2, 1}}, {"auto_pad", std::string("SAME_UPPER")}});
  check_pass("dilation_recovery", uneven.graph(), 1);
  CHECK(uneven.graph().constant(uneven.graph().node(uneven.graph().order()[0]).inputs[1])->shape() ==
        Shape{3, 4, 2, 3});

  GraphBuilder twice = convolution(spread({3, 4, 3, 3}, 2, 1), {{"dilations", Ints{2, 3}}});
  check_pass("dilation_recovery", twice.graph(), 1);
  CHECK(std::get<Ints>(twice.graph().node(twice.graph().order()[0]).attributes.at("dilations")) ==
        Ints{4, 3});
}

TEST_CASE("filters without room between their taps stay") {
  GraphBuilder full = convolution(random_tensor({4, 4, 3, 3}, 1), {});
  check_pass("dilation_recovery", full.graph(), 0);
  GraphBuilder even = convolution(spread({4, 4, 4, 4}, 2, 2), {});  // the last tap is a zero, and counts
  check_pass("dilation_recovery", even.graph(), 0);
  GraphBuilder point = convolution(random_tensor({4, 4, 1, 1}, 1), {});
  check_pass("dilation_recovery", point.graph(), 0);
}
