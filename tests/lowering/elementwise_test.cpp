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
using kernels::ActivationKind;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Operand {
  Shape shape;
  bool constant = false;
};

LoweringCase make_case(const std::string& op, const std::vector<Operand>& operands, float low = -2.0F,
                       float high = 2.0F, int opset = 17) {
  GraphBuilder builder(opset);
  LoweringCase test;
  std::vector<graph::ValueId> ids;
  for (const Operand& operand : operands) {
    const std::string name = "in" + std::to_string(ids.size());
    const Tensor values = random_tensor(operand.shape, 11 + ids.size(), low, high);
    if (operand.constant) {
      ids.push_back(builder.constant(name, values));
    } else {
      ids.push_back(builder.input(name, DataType::Float32, {operand.shape.begin(), operand.shape.end()}));
      test.inputs[name] = values;
    }
  }
  builder.output(builder.op(op, "y", ids));
  test.graph = builder.graph();
  return test;
}

}  // namespace

TEST_CASE("binary operators over every kind of broadcasting are exact") {
  const std::vector<std::pair<Shape, Shape>> shapes = {
      {{1}, {1}},
      {{}, {3}},
      {{127}, {127}},
      {{3, 13}, {13}},
      {{3, 13}, {3, 1}},
      {{13, 1}, {1, 3}},
      {{2, 3, 5}, {2, 3, 5}},
      {{2, 13, 5, 3}, {13, 1, 1}},
      {{2, 16, 7, 7}, {2, 16, 1, 1}},
      {{2, 13, 7, 1}, {2, 13, 1, 1}},
      {{2, 13, 3, 5}, {2, 1, 3, 5}},
      {{2, 1, 3, 5}, {13, 1, 1}},
      {{2, 3, 4, 5, 6}, {3, 1, 5, 1}},
      {{3, 1, 5, 1, 2}, {1, 4, 1, 6, 1}},
      {{1, 8, 4, 4}, {}},
  };
  for (const std::string op : {"Add", "Sub", "Mul", "Div", "Max", "Min"}) {
    for (const auto& [a, b] : shapes) {
      for (const auto& [first, second] : {std::pair(a, b), std::pair(b, a)}) {
        for (const int constants : {0, 1, 2}) {
          LoweringCase test = make_case(op, {{first, constants == 1}, {second, constants == 2}});
          test.exact = true;
          INFO(op, " ", to_string(first), " ", to_string(second), " constants ", constants);
          check_lowerings(test, {"elementwise"});
        }
      }
    }
  }
}

TEST_CASE("binary operators split large tensors into the same tiles at any thread count") {
  for (const auto& [a, b] :
       {std::pair(Shape{2, 24, 61, 67}, Shape{2, 24, 61, 67}),
        std::pair(Shape{2, 24, 61, 67}, Shape{2, 24, 1, 1}), std::pair(Shape{3, 50001}, Shape{50001}),
        std::pair(Shape{700, 331}, Shape{331})}) {
    LoweringCase test = make_case("Mul", {{a}, {b}});
    test.exact = true;
    check_lowerings(test, {"elementwise"});
  }
}

TEST_CASE("same-shape, scalar, per-channel and gate operands stay blocked") {
  const Shape image{2, 13, 5, 3};
  for (const std::string op : {"Add", "Mul", "Sub"}) {
    for (const Operand& other : std::vector<Operand>{{image},
                                                     {image, true},
                                                     {{}, true},
                                                     {{13, 1, 1}, true},
                                                     {{1, 13, 1, 1}, true},
                                                     {{2, 13, 1, 1}},
                                                     {{2, 1, 5, 3}}}) {
      INFO(op, " ", to_string(other.shape));
      CHECK(check_lowerings(make_case(op, {{image}, other})).accepted_blocked.contains("elementwise"));
    }
  }
  CHECK(check_lowerings(make_case("Div", {{image}, {{13, 1, 1}, true}}))
            .accepted_blocked.contains("elementwise"));
  // The padding of a computed divisor may be zero.
  CHECK_FALSE(check_lowerings(make_case("Div", {{image}, {image}})).accepted_blocked.contains("elementwise"));
  CHECK(check_lowerings(make_case("Div", {{{1, 16, 2, 2}}, {{1, 16, 2, 2}}}))
            .accepted_blocked.contains("elementwise"));
}

TEST_CASE("activations behind arithmetic are applied in the same step") {
  for (const ActivationKind kind : {ActivationKind::Relu, ActivationKind::Clip, ActivationKind::Sigmoid,
                                    ActivationKind::HardSwish, ActivationKind::LeakyRelu}) {
    for (const Operand& other : std::vector<Operand>{{{2, 13, 5, 3}}, {{13, 1, 1}, true}, {{1}, true}}) {
      LoweringCase test = make_case("Add", {{{2, 13, 5, 3}}, other});
      test.epilogue.before = {.kind = kind, .alpha = 0.1F, .beta = 0.7F};
      check_lowerings(test, {"elementwise"});
    }
  }
  LoweringCase sloped = make_case("Add", {{{2, 3, 4}}, {{2, 3, 4}}});
  auto slopes = std::make_shared<std::vector<float>>(16, 0.5F);
  sloped.epilogue.before = {.kind = ActivationKind::PRelu, .slopes = slopes->data(), .slope_count = 3};
  sloped.epilogue.slopes_before = slopes;
  CHECK(run_lowerings(sloped).accepted.empty());
}

TEST_CASE("variadic operators take up to eight inputs") {
  for (const std::string op : {"Sum", "Mean", "Max", "Min"}) {
    LoweringCase test = make_case(op, {{{2, 3, 5}}, {{3, 1}}, {{}, true}, {{2, 1, 5}}});
    check_lowerings(test, {"elementwise"});
    check_lowerings(make_case(op, {{{2, 13, 5}}, {{2, 13, 5}}, {{2, 13, 5}}}), {"elementwise"});
  }
}

TEST_CASE("Max and Min let NaN through from either side") {
  GraphBuilder builder;
  LoweringCase test;
  const std::vector<float> a = {kNaN, 1, kInf, -kInf, kNaN, -0.0F, 2, 3, 4};
  const std::vector<float> b = {1, kNaN, 1, 1, kNaN, 0.0F, -kInf, kInf, 4};
  for (const auto& [name, values] : {std::pair("a", a), std::pair("b", b)})
    test.inputs[name] = Tensor(Shape{9}, values);
  const graph::ValueId x = builder.input("a", DataType::Float32, {9});
  const graph::ValueId y = builder.input("b", DataType::Float32, {9});
  builder.output(builder.op("Max", "y", {x, y}));
  test.graph = builder.graph();
  test.exact = true;
  check_lowerings(test, {"elementwise"});
}

TEST_CASE("Pow") {
  check_lowerings(make_case("Pow", {{{3, 13}}, {{13}}}, 0.1F, 3.0F), {"elementwise"});
  for (const float exponent : {2.0F, 3.0F, 0.5F, -1.0F}) {
    GraphBuilder builder;
    const graph::ValueId x = builder.input("x", DataType::Float32, {2, 13, 3});
    const graph::ValueId e = builder.constant("e", Tensor::scalar(exponent));
    builder.output(builder.op("Pow", "y", {x, e}));
    Tensor values = random_tensor({2, 13, 3}, 5, 0.1F, 4.0F);
    values.data<float>()[0] = -kInf;
    values.data<float>()[1] = 0;
    values.data<float>()[2] = kNaN;
    LoweringCase test{.graph = builder.graph(), .inputs = {{"x", values}}};
    check_lowerings(test, {"power_by_constant"});
  }
}

TEST_CASE("unary functions over odd sizes and both layouts") {
  const auto check = [](const std::string& op, float low, float high, const std::vector<float>& extra) {
    for (const Shape& shape :
         {Shape{1}, Shape{3}, Shape{127}, Shape{2, 13, 3}, Shape{1, 16, 5, 5}, Shape{}}) {
      LoweringCase test = make_case(op, {{shape}}, low, high);
      if (shape.rank() == 1) {
        const auto values = test.inputs.at("in0").data<float>();
        for (std::size_t i = 0; i < extra.size() && i < values.size(); ++i) values[i] = extra[i];
      }
      INFO(op);
      check_lowerings(test, {"unary"});
    }
  };
  const std::vector<float> special = {kNaN, kInf, -kInf, 0, -0.0F};
  for (const std::string op : {"Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Erf", "Exp", "Cos", "Atan",
                               "Asinh", "Sinh", "Cosh", "Reciprocal", "Sqrt", "Sin"})
    check(op, op == "Sqrt" ? 0.0F : -4.0F, 4.0F, special);
  check("Log", 0.01F, 9.0F, special);
  check("Tan", -1.2F, 1.2F, {0, kNaN});
  for (const std::string op : {"Asin", "Acos", "Atanh"}) check(op, -0.95F, 0.95F, {0, kNaN});
  check("Acosh", 1.0F, 9.0F, {1, kInf, kNaN});
  check("Round", -3, 3, {0.5F, 1.5F, 2.5F, -0.5F, -1.5F});
}

TEST_CASE("comparison, logic, Not and Where") {
  for (const std::string op : {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}) {
    for (const auto& [a, b] : {std::pair(Shape{127}, Shape{127}), std::pair(Shape{3, 13}, Shape{13}),
                               std::pair(Shape{3, 13}, Shape{}), std::pair(Shape{1, 3}, Shape{13, 1})}) {
      for (const auto& [x, y] : {std::pair(a, b), std::pair(b, a)}) {
        LoweringCase test = make_case(op, {{x}, {y}});
        for (float& value : test.inputs.at("in0").data<float>()) value = std::round(value);
        for (float& value : test.inputs.at("in1").data<float>()) value = std::round(value);
        check_lowerings(test, {"mask"});
      }
    }
  }
  const auto mask = [](const Shape& shape, std::uint64_t seed) {
    Tensor bits(DataType::Bool, shape);
    const Tensor noise = random_tensor(shape, seed);
    for (std::size_t i = 0; i < bits.data<bool>().size(); ++i)
      bits.data<bool>()[i] = noise.data<float>()[i] > 0;
    return bits;
  };
  for (const std::string op : {"And", "Or", "Xor"}) {
    GraphBuilder builder;
    const graph::ValueId p = builder.input("p", DataType::Bool, {3, 13});
    const graph::ValueId q = builder.constant("q", mask({13}, 2));
    builder.output(builder.op(op, "y", {p, q}));
    check_lowerings({.graph = builder.graph(), .inputs = {{"p", mask({3, 13}, 1)}}}, {"mask"});
  }
  GraphBuilder negate;
  negate.output(negate.op("Not", "y", {negate.input("p", DataType::Bool, {127})}));
  check_lowerings({.graph = negate.graph(), .inputs = {{"p", mask({127}, 1)}}}, {"unary"});
  for (const Shape& other : {Shape{3, 13}, Shape{}, Shape{3, 1}}) {
    GraphBuilder where;
    const graph::ValueId p = where.input("p", DataType::Bool, {3, 13});
    const graph::ValueId a = where.input("a", DataType::Float32, {other.begin(), other.end()});
    const graph::ValueId b = where.constant("b", Tensor::scalar(-kInf));
    where.output(where.op("Where", "y", {p, a, b}));
    check_lowerings(
        {.graph = where.graph(), .inputs = {{"p", mask({3, 13}, 1)}, {"a", random_tensor(other, 3)}}},
        {"mask"});
  }
}
