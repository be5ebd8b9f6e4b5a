#include <doctest/doctest.h>

#include <ember/error.hpp>

#include "support/run_op.hpp"

using namespace ember;
using ember::test::elements_of;
using ember::test::run_op;
using Ints = std::vector<std::int64_t>;

namespace {

Tensor counted(const Shape& shape) {
  Tensor t(DataType::Float32, shape);
  float next = 0;
  for (float& x : t.data<float>()) x = next++;
  return t;
}

Tensor ints(const Ints& values) { return {Shape{static_cast<std::int64_t>(values.size())}, values}; }

/// Checks shape and that the elements are the input's, in order.
void expect_same_elements(const Tensor& out, const Shape& shape) {
  CHECK(out.shape() == shape);
  CHECK(elements_of<float>(out) == elements_of<float>(counted(shape)));
}

}  // namespace

TEST_CASE("Reshape: copies, -1, allowzero") {
  const Tensor x = counted({2, 3, 4});
  expect_same_elements(run_op("Reshape", 7, {x, ints({4, 6})})[0], {4, 6});
  expect_same_elements(run_op("Reshape", 13, {x, ints({0, -1})})[0], {2, 12});
  expect_same_elements(run_op("Reshape", 14, {x, ints({-1, 0, 2})})[0], {4, 3, 2});
  expect_same_elements(run_op("Reshape", 21, {counted({1}), ints({})})[0], {});
  const Tensor none = counted({0, 3});
  CHECK(run_op("Reshape", 14, {none, ints({3, 0})}, {{"allowzero", std::int64_t{1}}})[0].shape() ==
        Shape{3, 0});
  CHECK(run_op("Reshape", 14, {none, ints({0, 3})})[0].shape() == Shape{0, 3});
}

TEST_CASE("Reshape refuses what does not fit") {
  const Tensor x = counted({2, 3});
  for (const Ints& dims : {Ints{4}, Ints{-1, -1}, Ints{-1, 4}, Ints{-2, 3}, Ints{2, 3, 0}, Ints{0, 0, 0, -1},
                           Ints{std::int64_t{1} << 40, std::int64_t{1} << 40}}) {
    CHECK_THROWS_AS(run_op("Reshape", 14, {x, ints(dims)}), Error);
  }
  CHECK_THROWS_AS(run_op("Reshape", 14, {x, counted({2})}), Error);
}

TEST_CASE("Flatten") {
  const Tensor x = counted({2, 3, 4});
  expect_same_elements(run_op("Flatten", 9, {x})[0], {2, 12});
  expect_same_elements(run_op("Flatten", 13, {x}, {{"axis", std::int64_t{0}}})[0], {1, 24});
  expect_same_elements(run_op("Flatten", 13, {x}, {{"axis", std::int64_t{3}}})[0], {24, 1});
  expect_same_elements(run_op("Flatten", 13, {x}, {{"axis", std::int64_t{-1}}})[0], {6, 4});
  CHECK_THROWS_AS(run_op("Flatten", 13, {x}, {{"axis", std::int64_t{4}}}), Error);
}

TEST_CASE("Squeeze") {
  const Tensor x = counted({1, 3, 1, 2});
  expect_same_elements(run_op("Squeeze", 11, {x}, {{"axes", Ints{0, -2}}})[0], {3, 2});
  expect_same_elements(run_op("Squeeze", 13, {x, ints({2})})[0], {1, 3, 2});
  expect_same_elements(run_op("Squeeze", 13, {x})[0], {3, 2});
  CHECK_THROWS_AS(run_op("Squeeze", 13, {x, ints({1})}), Error);
  CHECK_THROWS_AS(run_op("Squeeze", 13, {x, ints({4})}), Error);
}

TEST_CASE("Unsqueeze") {
  const Tensor x = counted({3, 2});
  expect_same_elements(run_op("Unsqueeze", 11, {x}, {{"axes", Ints{0, 3}}})[0], {1, 3, 2, 1});
  expect_same_elements(run_op("Unsqueeze", 13, {x, ints({-1, 1})})[0], {3, 1, 2, 1});
  CHECK_THROWS_AS(run_op("Unsqueeze", 13, {x, ints({1, 1})}), Error);
  CHECK_THROWS_AS(run_op("Unsqueeze", 13, {x, ints({3})}), Error);
  CHECK_THROWS_AS(run_op("Unsqueeze", 11, {x}), Error);
  CHECK_THROWS_AS(run_op("Unsqueeze", 13, {x, ints({0, 1, 2, 3, 4, 5, 6})}), Error);  // rank 9
}
