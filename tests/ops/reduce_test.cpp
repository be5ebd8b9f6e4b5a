#include <cmath>
#include <cstdint>
#include <limits>

#include <doctest/doctest.h>

#include <ember/error.hpp>

#include "support/run_op.hpp"

using namespace ember;
using namespace ember::test;

namespace {

using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();
const Tensor kCube = tensor_of<float>({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});

Tensor axes(const Ints& list) {
  return tensor_of<std::int64_t>({static_cast<std::int64_t>(list.size())}, list);
}

}  // namespace

TEST_CASE("reductions take axes as an attribute, later as an input") {
  const Tensor by_attribute = run_op("ReduceMean", 13, {kCube}, {{"axes", Ints{1}}})[0];
  CHECK(by_attribute.shape() == Shape{2, 1, 2});
  CHECK(elements_of<float>(by_attribute) == Floats{2, 3, 6, 7});
  const Tensor by_input = run_op("ReduceMean", 18, {kCube, axes({-2})}, {{"keepdims", std::int64_t{0}}})[0];
  CHECK(by_input.shape() == Shape{2, 2});
  CHECK(elements_of<float>(by_input) == Floats{2, 3, 6, 7});
  CHECK(elements_of<float>(run_op("ReduceSum", 11, {kCube}, {{"axes", Ints{0, 2}}})[0]) == Floats{14, 22});
  CHECK(elements_of<float>(run_op("ReduceSum", 13, {kCube, axes({0, 2})})[0]) == Floats{14, 22});
  CHECK(elements_of<float>(run_op("ReduceSum", 13, {kCube})[0]) == Floats{36});
  CHECK(run_op("ReduceSum", 13, {kCube}, {{"keepdims", std::int64_t{0}}})[0].shape() == Shape{});
  CHECK_THROWS_WITH_AS(run_op("ReduceSum", 13, {kCube, axes({3})}), doctest::Contains("axis 3"), Error);
}

TEST_CASE("noop_with_empty_axes reduces nothing but still applies the element's function") {
  const GraphBuilder::Attributes noop = {{"noop_with_empty_axes", std::int64_t{1}}};
  CHECK(elements_of<float>(run_op("ReduceSum", 13, {kCube}, noop)[0]) == elements_of<float>(kCube));
  CHECK(elements_of<float>(run_op("ReduceSumSquare", 18, {kCube, axes({})}, noop)[0]) ==
        Floats{1, 4, 9, 16, 25, 36, 49, 64});
  CHECK(elements_of<float>(run_op("ReduceSum", 13, {kCube, axes({})})[0]) == Floats{36});
}

TEST_CASE("every reduction") {
  const Tensor x = tensor_of<float>({2, 2}, {1, -2, 3, 4});
  const auto over_rows = [&](const std::string& op) {
    return elements_of<float>(run_op(op, 18, {x, axes({1})}, {{"keepdims", std::int64_t{0}}})[0]);
  };
  CHECK(over_rows("ReduceMax") == Floats{1, 4});
  CHECK(over_rows("ReduceMin") == Floats{-2, 3});
  CHECK(over_rows("ReduceProd") == Floats{-2, 12});
  CHECK(over_rows("ReduceL1") == Floats{3, 7});
  CHECK(over_rows("ReduceL2") == Floats{std::sqrt(5.0F), 5});
  CHECK(over_rows("ReduceSumSquare") == Floats{5, 25});
  CHECK(std::isnan(over_rows("ReduceLogSum")[0]));
  CHECK(over_rows("ReduceLogSum")[1] == doctest::Approx(std::log(7.0)));
  CHECK(over_rows("ReduceLogSumExp")[1] == doctest::Approx(4.31326169));
  const Tensor big = tensor_of<float>({2}, {1000, 1000});
  CHECK(elements_of<float>(run_op("ReduceLogSumExp", 13, {big})[0])[0] == doctest::Approx(1000.693147));
  CHECK(elements_of<std::int32_t>(run_op("ReduceMean", 13, {tensor_of<std::int32_t>({2}, {3, 4})})[0])[0] ==
        3);
  CHECK(std::isnan(elements_of<float>(run_op("ReduceMax", 13, {tensor_of<float>({3}, {1, kNaN, 2})})[0])[0]));
}

TEST_CASE("logarithms of integers were dropped in opset 28") {
  const Tensor x = tensor_of<std::int32_t>({2}, {3, 5});
  CHECK(elements_of<std::int32_t>(run_op("ReduceLogSum", 18, {x})[0])[0] == 2);
  CHECK_THROWS_AS(run_op("ReduceLogSum", 28, {x}), Error);
}

TEST_CASE("reductions of nothing") {
  const Tensor none(DataType::Float32, Shape{2, 0});
  const auto reduce = [&](const std::string& op) {
    return elements_of<float>(run_op(op, 20, {none, axes({1})}, {{"keepdims", std::int64_t{0}}})[0]);
  };
  CHECK(reduce("ReduceSum") == Floats{0, 0});
  CHECK(reduce("ReduceProd") == Floats{1, 1});
  CHECK(reduce("ReduceMax") == Floats{-kInf, -kInf});
  CHECK(reduce("ReduceMin") == Floats{kInf, kInf});
  CHECK(reduce("ReduceLogSum") == Floats{-kInf, -kInf});
  CHECK(reduce("ReduceLogSumExp") == Floats{-kInf, -kInf});
  CHECK(std::isnan(reduce("ReduceMean")[0]));
  const Tensor no_bytes(DataType::UInt8, Shape{0});
  CHECK(elements_of<std::uint8_t>(run_op("ReduceMax", 20, {no_bytes})[0])[0] == 0);
  CHECK(elements_of<std::uint8_t>(run_op("ReduceMin", 20, {no_bytes})[0])[0] == 255);
  CHECK_THROWS_AS(run_op("ReduceMean", 18, {no_bytes}), Error);
}

TEST_CASE("ReduceMax and ReduceMin take bool from opset 20") {
  Tensor x(DataType::Bool, Shape{2});
  x.data<bool>()[1] = true;
  CHECK(elements_of<bool>(run_op("ReduceMax", 20, {x})[0])[0]);
  CHECK_FALSE(elements_of<bool>(run_op("ReduceMin", 20, {x})[0])[0]);
  CHECK_THROWS_AS(run_op("ReduceMax", 18, {x}), Error);
}

TEST_CASE("ArgMax and ArgMin") {
  const Tensor x = tensor_of<float>({2, 3}, {2, 7, 7, 4, 1, 1});
  const auto arg = [&](const std::string& op, std::int64_t axis, std::int64_t last) {
    return elements_of<std::int64_t>(
        run_op(op, 13, {x}, {{"axis", axis}, {"select_last_index", last}, {"keepdims", std::int64_t{0}}})[0]);
  };
  CHECK(arg("ArgMax", 1, 0) == Ints{1, 0});
  CHECK(arg("ArgMax", -1, 1) == Ints{2, 0});
  CHECK(arg("ArgMin", 1, 0) == Ints{0, 1});
  CHECK(arg("ArgMin", 1, 1) == Ints{0, 2});
  CHECK(arg("ArgMax", 0, 0) == Ints{1, 0, 0});
  CHECK(run_op("ArgMax", 7, {x})[0].shape() == Shape{1, 3});
  const Tensor with_nan = tensor_of<float>({4}, {1, kNaN, 9, kNaN});
  CHECK(elements_of<std::int64_t>(run_op("ArgMax", 13, {with_nan})[0]) == Ints{1});
  CHECK(elements_of<std::int64_t>(
            run_op("ArgMin", 13, {with_nan}, {{"select_last_index", std::int64_t{1}}})[0]) == Ints{3});
  CHECK_THROWS_AS(run_op("ArgMax", 13, {Tensor(DataType::Float32, Shape{0})}), Error);
}

TEST_CASE("TopK of every opset") {
  const Tensor x = tensor_of<float>({2, 4}, {1, 4, 4, 2, 9, 0, kNaN, 3});
  const auto old = run_op("TopK", 7, {x}, {{"k", std::int64_t{2}}}, 2);
  CHECK(elements_of<std::int64_t>(old[1]) == Ints{1, 2, 2, 0});
  const auto smallest = run_op("TopK", 11, {x, axes({3})}, {{"largest", std::int64_t{0}}}, 2);
  CHECK(elements_of<std::int64_t>(smallest[1]) == Ints{0, 3, 1, 1, 3, 0});
  CHECK(elements_of<float>(smallest[0])[5] == 9);
  const auto columns = run_op("TopK", 10, {x, axes({1})}, {{"axis", std::int64_t{0}}}, 2);
  CHECK(columns[1].shape() == Shape{1, 4});
  CHECK(elements_of<std::int64_t>(columns[1]) == Ints{1, 0, 1, 1});
  CHECK(run_op("TopK", 11, {x, axes({0})}, {}, 2)[0].shape() == Shape{2, 0});
  CHECK_THROWS_WITH_AS(run_op("TopK", 11, {x, axes({5})}, {}, 2), doctest::Contains("K is 5"), Error);
  CHECK_THROWS_AS(run_op("TopK", 11, {x, axes({-1})}, {}, 2), Error);
}
