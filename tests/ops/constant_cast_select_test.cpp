#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>

#include <ember/error.hpp>

#include "support/run_op.hpp"

// Shape, Size, Constant, ConstantOfShape, Range, OneHot, EyeLike, Cast, NonZero, Compress, ReverseSequence,
// Trilu, CumSum.

using namespace ember;
using ember::test::elements_of;
using ember::test::run_op;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

namespace {

Tensor ints(const Ints& values) { return {Shape{static_cast<std::int64_t>(values.size())}, values}; }
Tensor floats(const Shape& shape, const Floats& values) { return {shape, values}; }
Tensor bools(const Shape& shape, const std::vector<int>& values) {
  Tensor t(DataType::Bool, shape);
  for (std::size_t i = 0; i < values.size(); ++i) t.data<bool>()[i] = values[i] != 0;
  return t;
}

void expect(const Tensor& out, const Shape& shape, const Floats& values) {
  CHECK(out.shape() == shape);
  CHECK(elements_of<float>(out) == values);
}

Tensor cast(const Tensor& x, std::int64_t to) { return std::move(run_op("Cast", 13, {x}, {{"to", to}})[0]); }

const Floats kSix{1, 2, 3, 4, 5, 6};

}  // namespace

TEST_CASE("Shape and Size") {
  const Tensor x(DataType::Float32, {2, 0, 5});
  const auto shape = [&](std::int64_t start, std::int64_t end) {
    return elements_of<std::int64_t>(run_op("Shape", 15, {x}, {{"start", start}, {"end", end}})[0]);
  };
  CHECK(elements_of<std::int64_t>(run_op("Shape", 7, {x})[0]) == Ints{2, 0, 5});
  CHECK(shape(1, 3) == Ints{0, 5});
  CHECK(shape(-1, 99) == Ints{5});
  CHECK(shape(2, 1).empty());
  CHECK(shape(-99, -1) == Ints{2, 0});
  CHECK(run_op("Shape", 13, {Tensor::scalar(1.0F)})[0].shape() == Shape{0});
  CHECK(elements_of<std::int64_t>(run_op("Size", 13, {x})[0]) == Ints{0});
}

TEST_CASE("Constant in each numeric form") {
  const auto value = std::make_shared<const Tensor>(floats({2}, {1, 2}));
  expect(run_op("Constant", 7, {}, {{"value", value}})[0], {2}, {1, 2});
  expect(run_op("Constant", 12, {}, {{"value_float", 2.5F}})[0], {}, {2.5F});
  expect(run_op("Constant", 12, {}, {{"value_floats", Floats{1, 3}}})[0], {2}, {1, 3});
  CHECK(elements_of<std::int64_t>(run_op("Constant", 12, {}, {{"value_int", std::int64_t{4}}})[0]) ==
        Ints{4});
  CHECK(elements_of<std::int64_t>(run_op("Constant", 12, {}, {{"value_ints", Ints{}}})[0]).empty());
  CHECK_THROWS_AS(run_op("Constant", 12, {}, {{"value_string", std::string("a")}}), Error);
}

TEST_CASE("ConstantOfShape") {
  expect(run_op("ConstantOfShape", 9, {ints({2, 1})})[0], {2, 1}, {0, 0});
  expect(run_op("ConstantOfShape", 9, {ints({})})[0], {}, {0});
  const auto seven = std::make_shared<const Tensor>(ints({7}));
  CHECK(elements_of<std::int64_t>(run_op("ConstantOfShape", 20, {ints({3})}, {{"value", seven}})[0]) ==
        Ints{7, 7, 7});
  CHECK_THROWS_AS(run_op("ConstantOfShape", 9, {ints({-1})}), Error);
  CHECK_THROWS_AS(run_op("ConstantOfShape", 9, {ints({std::int64_t{1} << 50})}), Error);
}

TEST_CASE("Range") {
  const auto range = [](auto a, auto b, auto c) {
    return std::move(run_op("Range", 11, {Tensor::scalar(a), Tensor::scalar(b), Tensor::scalar(c)})[0]);
  };
  CHECK(elements_of<std::int64_t>(range(std::int64_t{3}, std::int64_t{9}, std::int64_t{3})) == Ints{3, 6});
  CHECK(elements_of<std::int32_t>(range(10, 4, -4)) == std::vector<std::int32_t>{10, 6});
  CHECK(range(5, 5, 1).shape() == Shape{0});
  expect(range(1.0F, 2.0F, 0.25F), {4}, {1, 1.25F, 1.5F, 1.75F});
  CHECK_THROWS_AS(range(1, 2, 0), Error);
  CHECK_THROWS_AS(range(0.0F, INFINITY, 1.0F), Error);
  CHECK_THROWS_AS(range(0.0F, NAN, 1.0F), Error);
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  CHECK_THROWS_AS(range(kMin, kMax, std::int64_t{1}), Error);
  CHECK(elements_of<std::int64_t>(range(kMin, kMax, kMax)) == Ints{kMin, -1, kMax - 1});
}

TEST_CASE("OneHot") {
  const Tensor values = floats({2}, {-1, 5});
  const Tensor depth = Tensor::scalar<std::int64_t>(3);
  expect(run_op("OneHot", 11, {ints({0, -1, 7}), depth, values})[0], {3, 3},
         {5, -1, -1, -1, -1, 5, -1, -1, -1});
  expect(run_op("OneHot", 9, {ints({2, -1}), depth, values}, {{"axis", std::int64_t{0}}})[0], {3, 2},
         {-1, -1, -1, -1, 5, -1});
  expect(run_op("OneHot", 11, {floats({1}, {1}), floats({1}, {2}), values})[0], {1, 2}, {-1, 5});
  CHECK_THROWS_AS(run_op("OneHot", 11, {ints({0}), Tensor::scalar<std::int64_t>(-2), values}), Error);
  CHECK_THROWS_AS(run_op("OneHot", 11, {floats({1}, {NAN}), depth, values}), Error);
  CHECK_THROWS_AS(run_op("OneHot", 11, {ints({0}), depth, floats({1}, {0})}), Error);
}

TEST_CASE("EyeLike") {
  const Tensor x(DataType::Int32, {2, 3});
  CHECK(elements_of<std::int32_t>(run_op("EyeLike", 9, {x})[0]) ==
        std::vector<std::int32_t>{1, 0, 0, 0, 1, 0});
  expect(run_op("EyeLike", 9, {x}, {{"dtype", std::int64_t{1}}, {"k", std::int64_t{-1}}})[0], {2, 3},
         {0, 0, 0, 1, 0, 0});
  CHECK_THROWS_AS(run_op("EyeLike", 9, {floats({1}, {0})}), Error);
}

TEST_CASE("Cast between kinds of numbers") {
  const Tensor x = floats({5}, {-1.9F, 0, 1.9F, 300, NAN});
  CHECK(elements_of<std::int32_t>(cast(x, 6)) == std::vector<std::int32_t>{-1, 0, 1, 300, 0});
  CHECK(elements_of<std::uint8_t>(cast(x, 2)) == std::vector<std::uint8_t>{0, 0, 1, 255, 0});
  CHECK(elements_of<bool>(cast(x, 9)) == std::vector<bool>{true, false, true, true, true});
  CHECK(elements_of<double>(cast(floats({1}, {0.5F}), 11)) == std::vector<double>{0.5});
  CHECK(elements_of<std::int64_t>(cast(floats({2}, {1e30F, -1e30F}), 7)) ==
        Ints{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()});
  CHECK(elements_of<std::int8_t>(cast(ints({300, -1}), 3)) == std::vector<std::int8_t>{44, -1});
  const Tensor half = cast(floats({2}, {1.0F, 65536.0F}), 10);
  CHECK(half.data<Half>()[0].bits == 0x3C00);
  CHECK(half.data<Half>()[1].bits == 0x7C00);
  expect(cast(half, 1), {2}, {1, INFINITY});
  CHECK(cast(floats({1}, {1.0F}), 16).data<BFloat>()[0].bits == 0x3F80);
  CHECK_THROWS_AS(cast(x, 8), Error);  // string
  CHECK_THROWS_AS(run_op("Cast", 13, {x}), Error);
  CHECK(run_op("CastLike", 15, {x, ints({1})})[0].type() == DataType::Int64);
}

TEST_CASE("NonZero and Compress depend on data") {
  const auto found = run_op("NonZero", 13, {floats({2, 2}, {1, 0, NAN, 4})});
  CHECK(found[0].shape() == Shape{2, 3});
  CHECK(elements_of<std::int64_t>(found[0]) == Ints{0, 1, 1, 0, 0, 1});
  CHECK(run_op("NonZero", 9, {Tensor::scalar(3.0F)})[0].shape() == Shape{0, 1});
  const Tensor x = floats({3, 2}, kSix);
  expect(run_op("Compress", 11, {x, bools({3}, {0, 1, 1})}, {{"axis", std::int64_t{0}}})[0], {2, 2},
         {3, 4, 5, 6});
  expect(run_op("Compress", 9, {x, bools({1}, {1})}, {{"axis", std::int64_t{1}}})[0], {3, 1}, {1, 3, 5});
  expect(run_op("Compress", 11, {x, bools({5}, {0, 1, 0, 0, 1})})[0], {2}, {2, 5});
  CHECK_THROWS_AS(run_op("Compress", 11, {x, bools({7}, {0, 1, 0, 0, 1, 0, 0})}), Error);
}

TEST_CASE("ReverseSequence") {
  const Tensor x = floats({3, 2}, kSix);
  expect(run_op("ReverseSequence", 10, {x, ints({3, 2})})[0], {3, 2}, {5, 4, 3, 2, 1, 6});
  expect(run_op("ReverseSequence", 10, {x, ints({1, 2, 0})},
                {{"batch_axis", std::int64_t{0}}, {"time_axis", std::int64_t{1}}})[0],
         {3, 2}, {1, 2, 4, 3, 5, 6});
  CHECK_THROWS_AS(run_op("ReverseSequence", 10, {x, ints({4, 0})}), Error);
  CHECK_THROWS_AS(run_op("ReverseSequence", 10, {x, ints({1})}), Error);
}

TEST_CASE("Trilu") {
  const Tensor x = floats({2, 3}, kSix);
  const auto lower = ember::test::GraphBuilder::Attributes{{"upper", std::int64_t{0}}};
  expect(run_op("Trilu", 14, {x})[0], {2, 3}, {1, 2, 3, 0, 5, 6});
  expect(run_op("Trilu", 14, {x, Tensor::scalar<std::int64_t>(-1)}, lower)[0], {2, 3}, {0, 0, 0, 4, 0, 0});
  expect(run_op("Trilu", 14, {floats({2, 1, 2}, {1, 2, 3, 4}), Tensor::scalar<std::int64_t>(1)})[0],
         {2, 1, 2}, {0, 2, 0, 4});
  expect(run_op("Trilu", 14, {x, Tensor::scalar(std::numeric_limits<std::int64_t>::min())})[0], {2, 3}, kSix);
  CHECK_THROWS_AS(run_op("Trilu", 14, {floats({1}, {1})}), Error);
}

TEST_CASE("CumSum") {
  const Tensor x = floats({2, 3}, kSix);
  const Tensor last = Tensor::scalar<std::int32_t>(-1);
  const std::int64_t on = 1;
  expect(run_op("CumSum", 11, {x, last})[0], {2, 3}, {1, 3, 6, 4, 9, 15});
  expect(run_op("CumSum", 14, {x, Tensor::scalar<std::int64_t>(0)})[0], {2, 3}, {1, 2, 3, 5, 7, 9});
  expect(run_op("CumSum", 14, {x, last}, {{"exclusive", on}})[0], {2, 3}, {0, 1, 3, 0, 4, 9});
  expect(run_op("CumSum", 14, {x, last}, {{"reverse", on}})[0], {2, 3}, {6, 5, 3, 15, 11, 6});
  expect(run_op("CumSum", 14, {x, last}, {{"reverse", on}, {"exclusive", on}})[0], {2, 3},
         {5, 3, 0, 11, 6, 0});
  CHECK_THROWS_AS(run_op("CumSum", 14, {x, Tensor::scalar<std::int64_t>(2)}), Error);
}
