#include <doctest/doctest.h>

#include <cmath>

#include <ember/error.hpp>

#include "support/run_op.hpp"

using namespace ember;
using ember::test::elements_of;
using ember::test::run_op;

namespace {

using Floats = std::vector<float>;
using Bytes = std::vector<std::uint8_t>;
using Signed = std::vector<std::int8_t>;
using Ints = std::vector<std::int32_t>;

Tensor floats(const Shape& shape, const Floats& values) { return {shape, values}; }

}  // namespace

TEST_CASE("QuantizeLinear rounds halves to even and saturates; NaN becomes the lowest value") {
  const Tensor x = floats({7}, {1, 3, -1, 1000, -1000, 2.2F, NAN});
  const auto y = run_op("QuantizeLinear", 13, {x, Tensor::scalar(2.0F), Tensor::scalar<std::uint8_t>(10)});
  CHECK(elements_of<std::uint8_t>(y[0]) == Bytes{10, 12, 10, 255, 0, 11, 0});
}

TEST_CASE("QuantizeLinear: per axis, blocked, output_dtype, no zero point") {
  const Tensor x = floats({2, 3}, {1, 2, 3, 10, 20, 30});
  const auto axis = run_op("QuantizeLinear", 13, {x, floats({2}, {1, 10}), Tensor({2}, Signed{0, 5})},
                           {{"axis", std::int64_t{0}}});
  CHECK(elements_of<std::int8_t>(axis[0]) == Signed{1, 2, 3, 6, 7, 8});
  const auto blocked = run_op("QuantizeLinear", 21, {x, floats({2, 2}, {1, 3, 10, 15})},
                              {{"axis", std::int64_t{1}}, {"block_size", std::int64_t{2}}});
  CHECK(elements_of<std::uint8_t>(blocked[0]) == Bytes{1, 2, 1, 1, 2, 2});
  const auto wide = run_op("QuantizeLinear", 21, {floats({2}, {1e6F, -1e6F}), Tensor::scalar(1.0F)},
                           {{"output_dtype", std::int64_t{5}}});
  CHECK(elements_of<std::int16_t>(wide[0]) == std::vector<std::int16_t>{32767, -32768});
}

TEST_CASE("QuantizeLinear refuses scales that fit no granularity, and types it cannot make") {
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK_THROWS_AS(run_op("QuantizeLinear", 13, {x, floats({2}, {1, 1})}), Error);
  CHECK_THROWS_AS(run_op("QuantizeLinear", 13, {x, floats({2, 3}, Floats(6, 1))}), Error);
  CHECK_THROWS_WITH_AS(
      run_op("QuantizeLinear", 21, {x, Tensor::scalar(1.0F)}, {{"output_dtype", std::int64_t{22}}}),
      doctest::Contains("int4"), Error);
}

TEST_CASE("DequantizeLinear takes the zero point off and scales, int32 and uint16 included") {
  const auto y =
      run_op("DequantizeLinear", 13,
             {Tensor({3}, Bytes{0, 128, 255}), Tensor::scalar(0.5F), Tensor::scalar<std::uint8_t>(128)});
  CHECK(elements_of<float>(y[0]) == Floats{-64, 0, 63.5F});
  const auto wide = run_op("DequantizeLinear", 13, {Tensor({2}, Ints{-100000, 7}), Tensor::scalar(2.0F)});
  CHECK(elements_of<float>(wide[0]) == Floats{-200000, 14});
  CHECK_THROWS_AS(run_op("DequantizeLinear", 13,
                         {Tensor({1}, Bytes{1}), Tensor::scalar(1.0F), Tensor::scalar<std::int8_t>(0)}),
                  Error);
}

TEST_CASE("DynamicQuantizeLinear spreads the range, zero included, over 0 to 255") {
  const auto y = run_op("DynamicQuantizeLinear", 11, {floats({4}, {0, 2, -3, -2.5F})}, {}, 3);
  CHECK(elements_of<float>(y[1])[0] == doctest::Approx(5.0 / 255.0));
  CHECK(elements_of<std::uint8_t>(y[2]) == Bytes{153});
  CHECK(elements_of<std::uint8_t>(y[0]) == Bytes{153, 255, 0, 26});
  const auto zeros = run_op("DynamicQuantizeLinear", 11, {floats({2}, {0, 0})}, {}, 3);
  CHECK(elements_of<std::uint8_t>(zeros[0]) == Bytes{0, 0});
}

TEST_CASE("MatMulInteger: zero points per tensor, row and column") {
  const Tensor a({2, 2}, Bytes{11, 7, 3, 9});
  const Tensor b({2, 2}, Signed{1, -4, 2, 5});
  const auto plain = run_op("MatMulInteger", 10, {a, b});
  CHECK(elements_of<std::int32_t>(plain[0]) == Ints{25, -9, 21, 33});
  const auto shifted =
      run_op("MatMulInteger", 10, {a, b, Tensor({2}, Bytes{7, 3}), Tensor({2}, Signed{1, -4})});
  // (a - [7; 3]) = [4 0; 0 6], (b - [1 -4]) = [0 0; 1 9]
  CHECK(elements_of<std::int32_t>(shifted[0]) == Ints{0, 0, 6, 54});
}

TEST_CASE("QLinearMatMul requantises the exact product") {
  const auto y = run_op("QLinearMatMul", 21,
                        {Tensor({1, 2}, Bytes{12, 8}), Tensor::scalar(0.5F), Tensor::scalar<std::uint8_t>(10),
                         Tensor({2, 2}, Signed{3, 4, 5, -60}), floats({2}, {1, 2}), Tensor({2}, Signed{0, 0}),
                         Tensor::scalar(1.0F), Tensor::scalar<std::int8_t>(1)});
  // [2 -2] · [3 4; 5 -60] = [-4 128], times 0.5·{1, 2}: [-2 128], plus 1 and saturated.
  CHECK(elements_of<std::int8_t>(y[0]) == Signed{-1, 127});
}

TEST_CASE("ConvInteger and QLinearConv: padding stands for the zero point") {
  const Tensor x({1, 1, 2, 2}, Bytes{2, 3, 4, 5});
  const Tensor w({1, 1, 2, 2}, Bytes{1, 1, 1, 1});
  const std::vector<std::int64_t> pads{1, 1, 0, 0};
  const auto sums = run_op("ConvInteger", 10, {x, w, Tensor::scalar<std::uint8_t>(1)}, {{"pads", pads}});
  CHECK(elements_of<std::int32_t>(sums[0]) == Ints{1, 3, 4, 10});
  const auto y = run_op(
      "QLinearConv", 10,
      {x, Tensor::scalar(0.5F), Tensor::scalar<std::uint8_t>(1), w, floats({1}, {2}), Tensor({1}, Bytes{0}),
       Tensor::scalar(4.0F), Tensor::scalar<std::uint8_t>(3), Tensor({1}, Ints{100})},
      {{"pads", pads}});
  // (sums + 100) / 4 = 25.25, 25.75, 26, 27.5, rounded half to even, plus 3
  CHECK(elements_of<std::uint8_t>(y[0]) == Bytes{28, 29, 29, 31});
}
