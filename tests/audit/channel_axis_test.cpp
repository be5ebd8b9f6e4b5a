#include "audit/channel_axis.hpp"

#include <doctest/doctest.h>

#include "support/graph_builder.hpp"

using namespace ember;
using auditing::channels_last;
using graph::ValueId;

TEST_CASE("the producer decides where the channels of a value of rank 3 or more are") {
  test::GraphBuilder b;
  const ValueId x = b.input("x", DataType::Float32, {-1, 3, 8, 8});
  const ValueId w = b.constant("w", Tensor(DataType::Float32, {4, 3, 3, 3}));
  const ValueId bias = b.constant("bias", Tensor(DataType::Float32, {1}));
  const auto perm = [](std::vector<std::int64_t> axes) {
    return test::GraphBuilder::Attributes{{"perm", std::move(axes)}};
  };
  const ValueId conv = b.op("Conv", "conv", {x, w});
  CHECK_FALSE(channels_last(b.graph(), x));
  CHECK_FALSE(channels_last(b.graph(), conv));
  CHECK_FALSE(channels_last(b.graph(), b.op("Add", "sum", {bias, conv})));

  const ValueId nhwc = b.op("Transpose", "nhwc", {conv}, perm({0, 2, 3, 1}));
  const ValueId rows = b.op("Reshape", "rows", {nhwc, b.constant("shape", Tensor(DataType::Int64, {3}))});
  CHECK(channels_last(b.graph(), nhwc));
  CHECK(channels_last(b.graph(), rows));
  CHECK_FALSE(channels_last(b.graph(), b.op("Transpose", "back", {nhwc}, perm({0, 3, 1, 2}))));
  CHECK_FALSE(channels_last(b.graph(), b.op("Reshape", "flat", {conv, b.graph().find_value("shape")})));

  const ValueId product = b.op("MatMul", "product", {rows, bias});
  const ValueId shifted = b.op("Add", "shifted", {bias, b.op("Relu", "relu", {product})});
  CHECK(channels_last(b.graph(), product));
  CHECK(channels_last(b.graph(), shifted));
  CHECK(channels_last(b.graph(), b.op("LayerNormalization", "norm", {conv, bias})));
  CHECK_FALSE(channels_last(b.graph(), b.op("Transpose", "first", {shifted}, perm({0, 2, 1}))));
  CHECK_FALSE(channels_last(b.graph(), b.op("Reshape", "gate", {product, b.graph().find_value("shape")})));
}
