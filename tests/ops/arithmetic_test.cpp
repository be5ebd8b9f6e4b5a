#include <cmath>
#include <cstdint>
#include <limits>

#include <doctest/doctest.h>

#include <ember/error.hpp>

#include "support/run_op.hpp"

using namespace ember;
using namespace ember::test;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();

template <class R, class T>
std::vector<R> binary(const std::string& op, const std::vector<T>& a, const std::vector<T>& b, int opset = 18,
                      GraphBuilder::Attributes attributes = {}) {
  const Tensor x = tensor_of<T>({static_cast<std::int64_t>(a.size())}, a);
  const Tensor y = tensor_of<T>({static_cast<std::int64_t>(b.size())}, b);
  return elements_of<R>(run_op(op, opset, {x, y}, std::move(attributes))[0]);
}

}  // namespace

TEST_CASE("arithmetic broadcasts as NumPy does") {
  const Tensor a = tensor_of<float>({2, 1, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor b = tensor_of<float>({2, 1}, {10, 20});
  const Tensor sum = run_op("Add", 7, {a, b})[0];
  CHECK(sum.shape() == Shape{2, 2, 3});
  CHECK(elements_of<float>(sum) == std::vector<float>{11, 12, 13, 21, 22, 23, 14, 15, 16, 24, 25, 26});
  CHECK(elements_of<float>(run_op("Sub", 14, {Tensor::scalar(1.0F), a})[0]) ==
        std::vector<float>{0, -1, -2, -3, -4, -5});
  CHECK_THROWS_WITH_AS(run_op("Mul", 13, {a, tensor_of<float>({2}, {1, 2})}),
                       doctest::Contains("cannot be broadcast"), Error);
  CHECK_THROWS_WITH_AS(run_op("Mul", 13, {a, Tensor::scalar(std::int64_t{2})}),
                       doctest::Contains("differ in type"), Error);
  CHECK(run_op("Add", 13, {Tensor(DataType::Float32, Shape{0, 3}), tensor_of<float>({3}, {1, 2, 3})})[0]
            .shape() == Shape{0, 3});
}

TEST_CASE("integer arithmetic wraps, truncates toward zero and never traps") {
  constexpr std::int32_t kLowest = std::numeric_limits<std::int32_t>::min();
  CHECK(binary<std::int32_t, std::int32_t>("Div", {7, -7, 7, kLowest}, {2, 2, -2, -1}) ==
        std::vector<std::int32_t>{3, -3, -3, kLowest});
  CHECK(binary<std::int32_t, std::int32_t>("Add", {kLowest}, {-1}) ==
        std::vector<std::int32_t>{std::numeric_limits<std::int32_t>::max()});
  CHECK(binary<std::uint16_t, std::uint16_t>("Mul", {65535}, {65535}) == std::vector<std::uint16_t>{1});
  CHECK(binary<std::uint8_t, std::uint8_t>("Sub", {1}, {2}) == std::vector<std::uint8_t>{255});
  CHECK_THROWS_WITH_AS((binary<std::int64_t, std::int64_t>("Div", {1}, {0})),
                       doctest::Contains("division by zero"), Error);
  CHECK_THROWS_AS((binary<std::int64_t, std::int64_t>("Mod", {1}, {0})), Error);
  CHECK(binary<float, float>("Div", {1, -1, 0}, {0, 0, 2}) == std::vector<float>{kInf, -kInf, 0});
}

TEST_CASE("Mod takes the divisor's sign, or with fmod the dividend's") {
  using I = std::int64_t;
  const std::vector<I> a = {-4, 7, 5, 4, -7, 8};
  const std::vector<I> b = {2, -3, 8, -2, 3, 5};
  CHECK(binary<I, I>("Mod", a, b, 13) == std::vector<I>{0, -2, 5, 0, 2, 3});
  CHECK(binary<I, I>("Mod", a, b, 10, {{"fmod", I{1}}}) == std::vector<I>{0, 1, 5, 0, -1, 3});
  CHECK(binary<I, I>("Mod", {std::numeric_limits<I>::min()}, {-1}) == std::vector<I>{0});
  CHECK(binary<float, float>("Mod", {-4.5F, 5.5F}, {2, -2}, 13, {{"fmod", I{1}}}) ==
        std::vector<float>{-0.5F, 1.5F});
  CHECK_THROWS_WITH_AS((binary<float, float>("Mod", {1}, {1})), doctest::Contains("fmod"), Error);
}

TEST_CASE("Pow mixes types from opset 12 on") {
  CHECK(binary<float, float>("Pow", {2, 9, -2}, {3, 0.5F, 3}, 7) == std::vector<float>{8, 3, -8});
  const Tensor base = tensor_of<std::int32_t>({4}, {2, -3, -1, 7});
  const Tensor exponent = tensor_of<std::int64_t>({4}, {10, 3, -3, -1});
  CHECK(elements_of<std::int32_t>(run_op("Pow", 15, {base, exponent})[0]) ==
        std::vector<std::int32_t>{1024, -27, -1, 0});
  CHECK(elements_of<std::int32_t>(run_op("Pow", 15, {base, Tensor::scalar(2.0F)})[0]) ==
        std::vector<std::int32_t>{4, 9, 1, 49});
  CHECK(elements_of<float>(run_op("Pow", 12, {tensor_of<float>({2}, {3, 0.5F}), Tensor::scalar(-1)})[0])[1] ==
        2.0F);
  CHECK_THROWS_AS(run_op("Pow", 7, {base, exponent}), Error);
  CHECK_THROWS_AS(run_op("Pow", 13, {Tensor::scalar(0), Tensor::scalar(-1)}), Error);
}

TEST_CASE("comparison, logic and Where") {
  const auto compare = [](const std::string& op, int opset) {
    return elements_of<bool>(run_op(
        op, opset, {tensor_of<float>({4}, {1, 2, 3, kNaN}), tensor_of<float>({4}, {2, 2, 2, kNaN})})[0]);
  };
  CHECK(compare("Equal", 11) == std::vector<bool>{false, true, false, false});
  CHECK(compare("Greater", 9) == std::vector<bool>{false, false, true, false});
  CHECK(compare("GreaterOrEqual", 12) == std::vector<bool>{false, true, true, false});
  CHECK(compare("Less", 7) == std::vector<bool>{true, false, false, false});
  CHECK(compare("LessOrEqual", 16) == std::vector<bool>{true, true, false, false});

  Tensor p(DataType::Bool, Shape{4});
  p.data<bool>()[2] = p.data<bool>()[3] = true;
  Tensor q(DataType::Bool, Shape{4});
  q.data<bool>()[1] = q.data<bool>()[3] = true;
  CHECK(elements_of<bool>(run_op("And", 7, {p, q})[0]) == std::vector<bool>{false, false, false, true});
  CHECK(elements_of<bool>(run_op("Or", 7, {p, q})[0]) == std::vector<bool>{false, true, true, true});
  CHECK(elements_of<bool>(run_op("Xor", 7, {p, q})[0]) == std::vector<bool>{false, true, true, false});
  CHECK(elements_of<bool>(run_op("Equal", 7, {p, q})[0]) == std::vector<bool>{true, false, false, true});
  CHECK(elements_of<bool>(run_op("Not", 7, {p})[0]) == std::vector<bool>{true, true, false, false});
  CHECK_THROWS_AS(run_op("And", 7, {p, Tensor::scalar(1.0F)}), Error);

  const Tensor chosen =
      run_op("Where", 16, {p, tensor_of<std::int64_t>({2, 1}, {1, 2}), Tensor::scalar(std::int64_t{0})})[0];
  CHECK(chosen.shape() == Shape{2, 4});
  CHECK(elements_of<std::int64_t>(chosen) == std::vector<std::int64_t>{0, 0, 1, 1, 0, 0, 2, 2});
}

TEST_CASE("bits") {
  using U = std::uint8_t;
  const GraphBuilder::Attributes left = {{"direction", std::string("LEFT")}};
  const GraphBuilder::Attributes right = {{"direction", std::string("RIGHT")}};
  CHECK(binary<U, U>("BitShift", {1, 255, 7, 9}, {2, 1, 8, 200}, 11, left) == std::vector<U>{4, 254, 0, 0});
  CHECK(binary<U, U>("BitShift", {16, 255, 7}, {2, 1, 8}, 11, right) == std::vector<U>{4, 127, 0});
  CHECK(binary<std::uint64_t, std::uint64_t>("BitShift", {3}, {64}, 11, left) ==
        std::vector<std::uint64_t>{0});
  CHECK_THROWS_AS((binary<std::int32_t, std::int32_t>("BitShift", {3}, {1}, 11, left)), Error);
  CHECK(binary<U, U>("BitwiseAnd", {12}, {10}) == std::vector<U>{8});
  CHECK(binary<U, U>("BitwiseOr", {12}, {10}) == std::vector<U>{14});
  CHECK(binary<U, U>("BitwiseXor", {12}, {10}) == std::vector<U>{6});
  CHECK(elements_of<std::int16_t>(run_op("BitwiseNot", 18, {Tensor::scalar(std::int16_t{5})})[0]) ==
        std::vector<std::int16_t>{-6});
}

TEST_CASE("variadic operators") {
  const Tensor a = tensor_of<float>({2, 2}, {1, 5, kNaN, -3});
  const Tensor b = tensor_of<float>({2}, {4, 4});
  const Tensor c = Tensor::scalar(2.0F);
  const std::vector<float> most = elements_of<float>(run_op("Max", 13, {a, b, c})[0]);
  CHECK(most[0] == 4);
  CHECK(most[1] == 5);
  CHECK(std::isnan(most[2]));
  CHECK(most[3] == 4);
  const std::vector<float> least = elements_of<float>(run_op("Min", 8, {b, c, a})[0]);
  CHECK(least[1] == 2);
  CHECK(std::isnan(least[2]));
  CHECK(elements_of<float>(run_op("Sum", 13, {b, c, c})[0]) == std::vector<float>{8, 8});
  CHECK(elements_of<float>(run_op("Mean", 8, {b, c})[0]) == std::vector<float>{3, 3});
  CHECK(elements_of<std::int8_t>(run_op("Max", 12, {Tensor::scalar(std::int8_t{-5})})[0])[0] == -5);
  CHECK_THROWS_AS(run_op("Sum", 13, {Tensor::scalar(1)}), Error);
}

TEST_CASE("unary functions") {
  const auto real = [](const std::string& op, const std::vector<float>& x, int opset = 22) {
    return elements_of<float>(
        run_op(op, opset, {tensor_of<float>({static_cast<std::int64_t>(x.size())}, x)})[0]);
  };
  CHECK(real("Round", {0.5F, 1.5F, 2.5F, -0.5F, -1.5F, 2.4F}) == std::vector<float>{0, 2, 2, -0.0F, -2, 2});
  CHECK(real("Floor", {1.5F, -1.5F}) == std::vector<float>{1, -2});
  CHECK(real("Ceil", {1.5F, -1.5F}) == std::vector<float>{2, -1});
  CHECK(real("Reciprocal", {4, 0}) == std::vector<float>{0.25F, kInf});
  CHECK(real("Sign", {3, -2, 0}) == std::vector<float>{1, -1, 0});
  CHECK(real("Sqrt", {9, 2})[1] == doctest::Approx(1.41421356));
  CHECK(std::isnan(real("Sqrt", {-1})[0]));
  const std::vector<std::pair<std::string, double>> at_half = {
      {"Exp", 1.64872127},  {"Log", -0.69314718}, {"Sin", 0.47942554},   {"Cos", 0.87758256},
      {"Tan", 0.54630249},  {"Asin", 0.52359878}, {"Acos", 1.04719755},  {"Atan", 0.46364761},
      {"Sinh", 0.52109531}, {"Cosh", 1.12762597}, {"Asinh", 0.48121183}, {"Atanh", 0.54930614},
      {"Erf", 0.52049988}};
  for (const auto& [op, value] : at_half) {
    INFO(op);
    CHECK(double{real(op, {0.5F})[0]} == doctest::Approx(value).epsilon(1e-7));
  }
  CHECK(double{real("Acosh", {2})[0]} == doctest::Approx(1.31695790));
  CHECK(elements_of<std::int8_t>(run_op("Abs", 13, {tensor_of<std::int8_t>({2}, {-128, -3})})[0]) ==
        std::vector<std::int8_t>{-128, 3});
  CHECK(elements_of<std::int64_t>(run_op("Neg", 6, {tensor_of<std::int64_t>({2}, {5, -3})})[0]) ==
        std::vector<std::int64_t>{-5, 3});
  CHECK_THROWS_AS(run_op("Neg", 13, {Tensor::scalar(std::uint8_t{1})}), Error);
  const Tensor half(Shape{1}, std::vector<Half>{Half(2.25F)});
  CHECK(static_cast<float>(elements_of<Half>(run_op("Sqrt", 13, {half})[0])[0]) == 1.5F);
}

TEST_CASE("IsNaN and IsInf") {
  const Tensor x = tensor_of<float>({4}, {kNaN, kInf, -kInf, 1});
  CHECK(elements_of<bool>(run_op("IsNaN", 9, {x})[0]) == std::vector<bool>{true, false, false, false});
  CHECK(elements_of<bool>(run_op("IsInf", 10, {x})[0]) == std::vector<bool>{false, true, true, false});
  CHECK(elements_of<bool>(run_op("IsInf", 20, {x}, {{"detect_negative", std::int64_t{0}}})[0]) ==
        std::vector<bool>{false, true, false, false});
  CHECK(elements_of<bool>(run_op("IsInf", 20, {x}, {{"detect_positive", std::int64_t{0}}})[0]) ==
        std::vector<bool>{false, false, true, false});
}
