#include <doctest/doctest.h>

#include "passes/pass_support.hpp"

using namespace ember;
using test::check_pass;
using test::GraphBuilder;
using test::random_tensor;

namespace {

/// x [2,4,6,5] -> Conv or ConvTranspose to 3 channels -> Add of a constant of this shape
GraphBuilder network(const std::string& op, const Shape& added, bool bias, bool constant_first = false) {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2, 4, 6, 5});
  const Shape filters = op == "Conv" ? Shape{3, 4, 2, 2} : Shape{4, 3, 2, 2};
  std::vector<graph::ValueId> inputs = {x, b.constant("w", random_tensor(filters, 1))};
  if (bias) inputs.push_back(b.constant("b", random_tensor(Shape{3}, 2)));
  const auto y = b.op(op, "conv", inputs);
  const auto constant = b.constant("added", random_tensor(added, 3));
  b.output(constant_first ? b.op("Add", "y", {constant, y}) : b.op("Add", "y", {y, constant}));
  return b;
}

}  // namespace

TEST_CASE("a constant per channel behind a convolution goes into its bias") {
  for (const std::string op : {"Conv", "ConvTranspose"}) {
    for (const bool bias : {false, true}) {
      for (const Shape& added : {Shape{1, 3, 1, 1}, Shape{3, 1, 1}, Shape{}, Shape{1, 1}}) {
        GraphBuilder b = network(op, added, bias, bias);
        check_pass("bias_folding", b.graph(), 1);
        CHECK(b.graph().order().size() == 1);
      }
    }
  }
}

TEST_CASE("what is not one number per channel, or is seen before it is added, stays") {
  for (const Shape& added :
       {Shape{5}, Shape{6, 1}, Shape{2, 1, 1, 1}, Shape{1, 3, 7, 6}, Shape{1, 1, 3, 1, 1}}) {
    if (added.rank() == 1 || added.rank() == 2) {
      // Along the width or height of a result that is that wide or high.
      GraphBuilder b;
      const auto x = b.input("x", DataType::Float32, {2, 4, 6, 5});
      const auto y = b.op("Conv", "conv", {x, b.constant("w", random_tensor({3, 4, 1, 1}, 1))});
      b.output(b.op("Add", "y", {y, b.constant("added", random_tensor(added, 3))}));
      check_pass("bias_folding", b.graph(), 0);
      continue;
    }
    GraphBuilder b = network(added[added.rank() - 1] == 6 ? "ConvTranspose" : "Conv", added, false);
    check_pass("bias_folding", b.graph(), 0);
  }
  GraphBuilder seen = network("Conv", Shape{3, 1, 1}, true);
  seen.output(seen.graph().find_value("conv"));
  check_pass("bias_folding", seen.graph(), 0);
}
