#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/graph_builder.hpp"
#include "support/lowering_harness.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using namespace ember::test;

namespace {

using Ints = std::vector<std::int64_t>;
const float kNaN = std::numeric_limits<float>::quiet_NaN();

LoweringCase unary_case(const std::string& op, const Shape& shape, GraphBuilder::Attributes attributes,
                        float low = -2.0F, float high = 2.0F, int opset = 17) {
  GraphBuilder builder(opset);
  const graph::ValueId x = builder.input("x", DataType::Float32, {shape.begin(), shape.end()});
  builder.output(builder.op(op, "y", {x}, std::move(attributes)));
  return {.graph = builder.graph(), .inputs = {{"x", random_tensor(shape, 21, low, high)}}};
}

}  // namespace

TEST_CASE("reductions over leading, middle, trailing and all axes") {
  const std::vector<std::pair<Shape, Ints>> cases = {
      {{1}, {0}},           {{127}, {0}},         {{3, 13}, {1}},          {{3, 13}, {0}},
      {{3, 13}, {0, 1}},    {{2, 127, 3}, {1}},   {{5, 300, 70}, {1}},     {{2, 13, 5, 3}, {2, 3}},
      {{2, 13, 5, 3}, {3}}, {{2, 13, 5, 3}, {2}}, {{2, 16, 7, 7}, {2, 3}}, {{2, 13, 5, 3}, {1}},
      {{3, 1, 13}, {0, 2}}, {{2, 13, 5}, {0}}};
  for (const std::string op : {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
                               "ReduceL2", "ReduceSumSquare", "ReduceLogSum"}) {
    for (const auto& [shape, axes] : cases) {
      for (const std::int64_t keep : {0, 1}) {
        INFO(op, " ", to_string(shape), " keepdims ", keep);
        // Products stay in range; logarithms have something positive.
        const float low = op == "ReduceProd" ? 0.9F : op == "ReduceLogSum" ? 0.1F : -2.0F;
        LoweringCase test = unary_case(op, shape, {{"axes", axes}, {"keepdims", keep}}, low,
                                       op == "ReduceProd" ? 1.1F : 2.0F, 11);
        check_lowerings(test, {"reduce"});
      }
    }
  }
}

TEST_CASE("spatial reductions stay blocked") {
  for (const std::int64_t keep : {0, 1}) {
    LoweringCase test = unary_case("ReduceMean", {2, 13, 5, 3}, {{"axes", Ints{2, 3}}, {"keepdims", keep}});
    CHECK(check_lowerings(test).accepted_blocked.contains("reduce"));
  }
}

TEST_CASE("reductions of axes that are apart are left to the reference") {
  CHECK(
      run_lowerings(unary_case("ReduceSum", {2, 3, 4}, {{"axes", Ints{0, 2}}}, -2, 2, 11)).accepted.empty());
}

TEST_CASE("axes as an input of opset 18") {
  GraphBuilder builder(18);
  const graph::ValueId x = builder.input("x", DataType::Float32, {3, 13});
  const graph::ValueId axes = builder.constant("axes", Tensor(Shape{1}, Ints{-1}));
  builder.output(builder.op("ReduceMean", "y", {x, axes}));
  check_lowerings({.graph = builder.graph(), .inputs = {{"x", random_tensor({3, 13}, 1)}}}, {"reduce"});
}

TEST_CASE("long sums keep their accuracy") {
  LoweringCase test = unary_case("ReduceSum", {3, 100003}, {{"axes", Ints{1}}}, 0.0F, 1.0F, 11);
  test.relative = 1e-6;
  check_lowerings(test, {"reduce"});
  LoweringCase columns = unary_case("ReduceMean", {20011, 33}, {{"axes", Ints{0}}}, 0.0F, 1.0F, 11);
  columns.relative = 3e-6;
  check_lowerings(columns, {"reduce"});
}

TEST_CASE("NaN wins in ReduceMax, ReduceMin, ArgMax and ArgMin wherever it is") {
  for (const std::string op : {"ReduceMax", "ReduceMin"}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{5}, std::size_t{12}}) {
      LoweringCase test = unary_case(op, {3, 13}, {{"axes", Ints{1}}}, -2, 2, 13);
      test.inputs.at("x").data<float>()[13 + at] = kNaN;
      check_lowerings(test, {"reduce"});
    }
  }
  for (const std::string op : {"ArgMax", "ArgMin"}) {
    for (const std::int64_t axis : {0, 1, 2}) {
      for (const std::int64_t last : {0, 1}) {
        LoweringCase test = unary_case(op, {3, 13, 70}, {{"axis", axis}, {"select_last_index", last}});
        const auto x = test.inputs.at("x").data<float>();
        for (float& value : x) value = std::round(value);  // many equal ones
        x[77] = kNaN;
        x[100] = kNaN;
        check_lowerings(test, {"arg"});
      }
    }
  }
}

TEST_CASE("softmax on every axis of odd shapes") {
  for (const std::string op : {"Softmax", "LogSoftmax"}) {
    for (const Shape& shape :
         {Shape{1, 1}, Shape{3, 13}, Shape{2, 127}, Shape{2, 13, 5}, Shape{2, 3, 70, 5}}) {
      for (std::int64_t axis = 0; axis < shape.rank(); ++axis) {
        for (const int opset : {11, 13}) {
          INFO(op, " ", to_string(shape), " axis ", axis);
          check_lowerings(unary_case(op, shape, {{"axis", axis}}, -9, 9, opset), {"softmax"});
        }
      }
    }
    LoweringCase far = unary_case(op, {2, 200000}, {}, -300, 300);
    far.relative = 2e-5;
    check_lowerings(far, {"softmax"});
  }
}
