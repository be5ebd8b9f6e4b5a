#include <doctest/doctest.h>

#include <cmath>

#include <ember/error.hpp>

#include "support/run_op.hpp"

using namespace ember;
using ember::test::elements_of;
using ember::test::run_op;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

namespace {

Tensor ints(const Shape& shape, const Ints& values) { return {shape, values}; }
Tensor floats(const Shape& shape, const Floats& values) { return {shape, values}; }

void expect(const Tensor& out, const Shape& shape, const Floats& values) {
  CHECK(out.shape() == shape);
  CHECK(elements_of<float>(out) == values);
}

ErrorCode code_of(const std::string& op, const std::vector<Tensor>& inputs) {
  try {
    run_op(op, 18, inputs);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::Internal;
}

const Floats kSix{1, 2, 3, 4, 5, 6};

}  // namespace

TEST_CASE("Gather") {
  const Tensor x = floats({2, 3}, kSix);
  expect(run_op("Gather", 13, {x, ints({1, 2}, {1, -2})})[0], {1, 2, 3}, {4, 5, 6, 1, 2, 3});
  expect(run_op("Gather", 7, {x, ints({}, {2})}, {{"axis", std::int64_t{-1}}})[0], {2}, {3, 6});
  expect(run_op("Gather", 13, {x, Tensor(Shape{1}, std::vector<std::int32_t>{0})})[0], {1, 3}, {1, 2, 3});
  expect(run_op("Gather", 13, {x, ints({0}, {})})[0], {0, 3}, {});
  CHECK(code_of("Gather", {x, ints({1}, {2})}) == ErrorCode::InvalidData);
  CHECK(code_of("Gather", {x, ints({1}, {-3})}) == ErrorCode::InvalidData);
  CHECK(code_of("Gather", {floats({}, {1}), ints({1}, {0})}) == ErrorCode::InvalidModel);
}

TEST_CASE("GatherElements") {
  const Tensor x = floats({2, 3}, kSix);
  expect(run_op("GatherElements", 13, {x, ints({2, 2}, {2, 0, -1, 1})}, {{"axis", std::int64_t{1}}})[0],
         {2, 2}, {3, 1, 6, 5});
  expect(run_op("GatherElements", 11, {x, ints({1, 3}, {1, 0, -1})})[0], {1, 3}, {4, 2, 6});
  CHECK(code_of("GatherElements", {x, ints({1, 1}, {2})}) == ErrorCode::InvalidData);
  CHECK(code_of("GatherElements", {x, ints({1, 4}, {0, 0, 0, 0})}) == ErrorCode::InvalidModel);
  CHECK(code_of("GatherElements", {x, ints({1}, {0})}) == ErrorCode::InvalidModel);
}

TEST_CASE("GatherND") {
  const Tensor x = floats({2, 3}, kSix);
  expect(run_op("GatherND", 13, {x, ints({2, 2}, {0, -1, 1, 0})})[0], {2}, {3, 4});
  expect(run_op("GatherND", 11, {x, ints({1, 1}, {1})})[0], {1, 3}, {4, 5, 6});
  expect(run_op("GatherND", 12, {x, ints({2, 1}, {2, 0})}, {{"batch_dims", std::int64_t{1}}})[0], {2},
         {3, 4});
  CHECK(code_of("GatherND", {x, ints({1, 2}, {0, 3})}) == ErrorCode::InvalidData);
  CHECK(code_of("GatherND", {x, ints({1, 3}, {0, 0, 0})}) == ErrorCode::InvalidModel);
  CHECK_THROWS_AS(run_op("GatherND", 13, {x, ints({1, 1}, {0})}, {{"batch_dims", std::int64_t{1}}}), Error);
}

TEST_CASE("ScatterElements and Scatter") {
  const Tensor x = floats({3}, {1, 2, 3});
  expect(run_op("ScatterElements", 13, {x, ints({2}, {2, -3}), floats({2}, {9, 8})})[0], {3}, {8, 2, 9});
  expect(run_op("Scatter", 10, {x, ints({1}, {1}), floats({1}, {7})})[0], {3}, {1, 7, 3});
  const auto reduce = [&](const std::string& how) {
    return elements_of<float>(
        run_op("ScatterElements", 18, {x, ints({2}, {1, 1}), floats({2}, {5, -4})}, {{"reduction", how}})[0]);
  };
  CHECK(reduce("add") == Floats{1, 3, 3});
  CHECK(reduce("mul") == Floats{1, -40, 3});
  CHECK(reduce("max") == Floats{1, 5, 3});
  CHECK(reduce("min") == Floats{1, -4, 3});
  CHECK_THROWS_AS(reduce("mean"), Error);
  expect(run_op("ScatterElements", 16,
                {floats({2, 2}, {1, 2, 3, 4}), ints({2, 1}, {1, 0}), floats({2, 1}, {8, 9})},
                {{"axis", std::int64_t{1}}})[0],
         {2, 2}, {1, 8, 9, 4});
  CHECK(code_of("ScatterElements", {x, ints({1}, {3}), floats({1}, {0})}) == ErrorCode::InvalidData);
  CHECK(code_of("ScatterElements", {x, ints({1}, {0}), floats({2}, {0, 0})}) == ErrorCode::InvalidModel);
  CHECK(code_of("ScatterElements", {x, ints({1}, {0}), ints({1}, {0})}) == ErrorCode::InvalidModel);
  CHECK_THROWS_AS(run_op("Scatter", 11, {x, ints({1}, {1}), floats({1}, {7})}), Error);
}

TEST_CASE("scatter reductions carry NaN and wrap integers") {
  const Tensor nan = floats({1}, {NAN});
  const auto max = run_op("ScatterElements", 18, {floats({1}, {1}), ints({1}, {0}), nan},
                          {{"reduction", std::string("max")}});
  CHECK(std::isnan(max[0].data<float>()[0]));
  const Tensor small(Shape{1}, std::vector<std::int8_t>{100});
  const auto sum =
      run_op("ScatterElements", 18, {small, ints({1}, {0}), small}, {{"reduction", std::string("add")}});
  CHECK(sum[0].data<std::int8_t>()[0] == -56);
}

TEST_CASE("ScatterND") {
  const Tensor x = floats({2, 2}, {1, 2, 3, 4});
  expect(run_op("ScatterND", 11, {x, ints({1, 2}, {0, -1}), floats({1}, {9})})[0], {2, 2}, {1, 9, 3, 4});
  expect(run_op("ScatterND", 13, {x, ints({1, 1}, {1}), floats({1, 2}, {8, 9})})[0], {2, 2}, {1, 2, 8, 9});
  expect(run_op("ScatterND", 16, {x, ints({2, 1}, {1, 1}), floats({2, 2}, {1, 2, 3, 4})},
                {{"reduction", std::string("add")}})[0],
         {2, 2}, {1, 2, 7, 10});
  CHECK(code_of("ScatterND", {x, ints({1, 1}, {2}), floats({1, 2}, {0, 0})}) == ErrorCode::InvalidData);
  CHECK(code_of("ScatterND", {x, ints({1, 3}, {0, 0, 0}), floats({1}, {0})}) == ErrorCode::InvalidModel);
  CHECK(code_of("ScatterND", {x, ints({1, 1}, {0}), floats({2}, {0, 0})}) == ErrorCode::InvalidModel);
}
