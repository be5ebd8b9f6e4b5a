#include "ops/activation_pattern.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "ops/activation_formula.hpp"
#include "ops/interpreter.hpp"
#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using graph::ValueId;
using kernels::ActivationKind;
using test::GraphBuilder;

namespace {

/// Builds expressions of x; number(c) makes a scalar constant.
class Expression : public GraphBuilder {
 public:
  explicit Expression(int opset = 20) : GraphBuilder(opset) { x = input("x", DataType::Float32, {2, 3, 4}); }
  ValueId number(float value) { return constant("c" + std::to_string(++made_), Tensor::scalar(value)); }
  ValueId apply(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    return this->op(op, op + std::to_string(++made_), std::move(inputs), std::move(attributes));
  }
  ValueId mul(ValueId a, ValueId b) { return apply("Mul", {a, b}); }
  ValueId div(ValueId a, ValueId b) { return apply("Div", {a, b}); }
  ValueId add(ValueId a, ValueId b) { return apply("Add", {a, b}); }
  ValueId sigmoid(ValueId a) { return apply("Sigmoid", {a}); }
  ValueId clip(ValueId a, float low, float high) { return apply("Clip", {a, number(low), number(high)}); }
  ValueId erf(ValueId a) { return apply("Erf", {a}); }
  ValueId tanh(ValueId a) { return apply("Tanh", {a}); }
  ValueId x;

 private:
  int made_ = 0;
};

using Build = std::function<ValueId(Expression&)>;

struct Form {
  std::string name;
  ActivationKind kind;
  Build build;
};

/// sqrt(2/pi)
constexpr float kRoot = 0.79788456F;

/// Ways in which exporters write activations of several nodes.
std::vector<Form> forms() {
  using E = Expression;
  using enum ActivationKind;
  return {
      {"x s(x)", Silu, [](E& e) { return e.mul(e.x, e.sigmoid(e.x)); }},
      {"s(x) x", Silu, [](E& e) { return e.mul(e.sigmoid(e.x), e.x); }},
      {"x s(1.702 x)", Silu, [](E& e) { return e.mul(e.x, e.sigmoid(e.mul(e.number(1.702F), e.x))); }},
      {"x hs(x)", HardSwish,
       [](E& e) { return e.mul(e.x, e.apply("HardSigmoid", {e.x}, {{"alpha", 1.0F / 6}, {"beta", 0.5F}})); }},
      {"x clip(x+3) / 6", HardSwish,
       [](E& e) { return e.div(e.mul(e.x, e.clip(e.add(e.x, e.number(3)), 0, 6)), e.number(6)); }},
      {"clip(3+x) x / 6", HardSwish,
       [](E& e) { return e.div(e.mul(e.clip(e.add(e.number(3), e.x), 0, 6), e.x), e.number(6)); }},
      {"x (clip(x+3) / 6)", HardSwish,
       [](E& e) { return e.mul(e.x, e.div(e.clip(e.add(e.x, e.number(3)), 0, 6), e.number(6))); }},
      {"(x/6) clip(x+3)", HardSwish,
       [](E& e) { return e.mul(e.mul(e.x, e.number(1.0F / 6)), e.clip(e.add(e.x, e.number(3)), 0, 6)); }},
      {"x clip(x/6 + 1/2, 0, 1)", HardSwish,
       [](E& e) { return e.mul(e.x, e.clip(e.add(e.div(e.x, e.number(6)), e.number(0.5F)), 0, 1)); }},
      {"x (1 + erf) / 2", Gelu,
       [](E& e) {
         const ValueId erf = e.erf(e.div(e.x, e.number(1.41421356F)));
         return e.mul(e.mul(e.x, e.add(erf, e.number(1))), e.number(0.5F));
       }},
      {"0.5 x (erf + 1)", Gelu,
       [](E& e) {
         const ValueId erf = e.erf(e.mul(e.number(0.70710678F), e.x));
         return e.mul(e.mul(e.number(0.5F), e.x), e.add(e.number(1), erf));
       }},
      {"(0.5 erf + 0.5) x", Gelu,
       [](E& e) {
         const ValueId erf = e.erf(e.div(e.x, e.number(1.41421356F)));
         return e.mul(e.add(e.mul(erf, e.number(0.5F)), e.number(0.5F)), e.x);
       }},
      {"0.5 x (1 + tanh(r (x + k x^3)))", GeluTanh,
       [](E& e) {
         const ValueId cube = e.apply("Pow", {e.x, e.number(3)});
         const ValueId u = e.mul(e.number(kRoot), e.add(e.x, e.mul(e.number(0.044715F), cube)));
         return e.mul(e.mul(e.number(0.5F), e.x), e.add(e.number(1), e.tanh(u)));
       }},
      {"x (0.5 (1 + tanh(x r (1 + k x x))))", GeluTanh,
       [](E& e) {
         const ValueId inner = e.add(e.number(1), e.mul(e.mul(e.x, e.number(0.044715F)), e.x));
         const ValueId u = e.mul(e.mul(e.x, e.number(kRoot)), inner);
         return e.mul(e.x, e.mul(e.number(0.5F), e.add(e.tanh(u), e.number(1))));
       }},
      {"x tanh(softplus(x))", Mish, [](E& e) { return e.mul(e.x, e.tanh(e.apply("Softplus", {e.x}))); }},
      {"tanh(ln(1 + e^x)) x", Mish,
       [](E& e) {
         const ValueId sum = e.add(e.number(1), e.apply("Exp", {e.x}));
         return e.mul(e.tanh(e.apply("Log", {sum})), e.x);
       }},
  };
}

std::vector<ActivationKind> kinds(const graph::Graph& graph) {
  std::vector<ActivationKind> found;
  for (const ops::ActivationPattern& pattern : ops::find_activations(graph))
    found.push_back(pattern.function.kind);
  return found;
}

}  // namespace

TEST_CASE("activations of several nodes are found in every spelling, and mean what the graph computes") {
  for (const Form& form : forms()) {
    CAPTURE(form.name);
    Expression e;
    e.output(form.build(e));
    const auto found = ops::find_activations(e.graph());
    REQUIRE(found.size() == 1);
    const ops::ActivationPattern& pattern = found[0];
    CHECK(pattern.function.kind == form.kind);
    CHECK(pattern.input == e.x);
    CHECK(pattern.output == e.graph().outputs[0]);
    // All nodes, each after those it reads.
    CHECK(std::ranges::is_permutation(pattern.nodes, e.graph().order()));
    CHECK(pattern.nodes.back() == e.graph().order().back());
    for (auto node = pattern.nodes.begin(); node != pattern.nodes.end(); ++node) {
      for (const graph::NodeId user : e.graph().users(e.graph().node(*node).outputs[0]))
        CHECK(std::find(node, pattern.nodes.end(), user) != pattern.nodes.end());
    }

    const Tensor x = test::random_tensor({2, 3, 4}, 3, -5.0F, 5.0F);
    Tensor expected(DataType::Float32, x.shape());
    for (std::size_t i = 0; i < x.data<float>().size(); ++i) {
      expected.data<float>()[i] = static_cast<float>(
          ops::activation_value(pattern.function.kind, static_cast<double>(x.data<float>()[i]),
                                static_cast<double>(pattern.function.alpha), 0.0));
    }
    const std::vector<Tensor> outputs = ops::interpret(e.graph(), {{"x", x}});
    CHECK(test::mismatch(outputs[0].view(), expected.view(), 2e-6, 1e-5) <= 1.0);
  }
}

TEST_CASE("a value seen from outside splits a pattern") {
  for (const Form& form : forms()) {
    CAPTURE(form.name);
    Expression e;
    e.output(form.build(e));
    // The value before the last is also a graph output, or read by another node.
    const graph::NodeId last = e.graph().order().back();
    for (const ValueId inner : e.graph().node(last).inputs) {
      if (inner == e.x || e.graph().constant(inner) != nullptr) continue;
      graph::Graph shown = e.graph();
      shown.outputs.push_back(inner);
      const auto open = ops::match_activation(shown, last);
      CHECK(!open.has_value());
    }
  }
}

TEST_CASE("look-alikes are not activations") {
  using E = Expression;
  const std::map<std::string, Build> builds = {
      {"another input", [](E& e) { return e.mul(e.add(e.x, e.number(1)), e.sigmoid(e.x)); }},
      {"clip to 5",
       [](E& e) { return e.div(e.mul(e.x, e.clip(e.add(e.x, e.number(3)), 0, 5)), e.number(6)); }},
      {"over 5", [](E& e) { return e.div(e.mul(e.x, e.clip(e.add(e.x, e.number(3)), 0, 6)), e.number(5)); }},
      {"other slope",
       [](E& e) { return e.mul(e.x, e.apply("HardSigmoid", {e.x}, {{"alpha", 0.2F}, {"beta", 0.5F}})); }},
      {"erf of x", [](E& e) { return e.mul(e.mul(e.x, e.add(e.erf(e.x), e.number(1))), e.number(0.5F)); }},
      {"no half",
       [](E& e) { return e.mul(e.x, e.add(e.erf(e.div(e.x, e.number(1.41421356F))), e.number(1))); }},
      {"tanh of x", [](E& e) { return e.mul(e.mul(e.x, e.number(0.5F)), e.add(e.number(1), e.tanh(e.x))); }},
      {"divided by x", [](E& e) { return e.div(e.sigmoid(e.x), e.x); }},
      {"higher rank",
       [](E& e) {
         const ValueId six = e.constant("six", Tensor({1, 1, 1, 1}, std::vector<float>{6}));
         return e.div(e.mul(e.x, e.clip(e.add(e.x, e.number(3)), 0, 6)), six);
       }},
      {"per-channel constant",
       [](E& e) {
         const ValueId six = e.constant("six", Tensor({3, 1}, std::vector<float>{6, 6, 6}));
         return e.div(e.mul(e.x, e.clip(e.add(e.x, e.number(3)), 0, 6)), six);
       }},
  };
  for (const auto& [name, build] : builds) {
    CAPTURE(name);
    Expression e;
    e.output(build(e));
    CHECK(!ops::match_activation(e.graph(), e.graph().order().back()).has_value());
  }
}

TEST_CASE("single nodes carry their parameters") {
  Expression e(16);
  const ValueId leaky = e.apply("LeakyRelu", {e.x}, {{"alpha", 0.2F}});
  const ValueId relu6 = e.clip(leaky, 0, 6);
  const ValueId upper = e.apply("Clip", {relu6, graph::kNoValue, e.number(2)});
  e.output(e.apply("Neg", {upper}));
  const auto found = ops::find_activations(e.graph());
  REQUIRE(found.size() == 3);
  CHECK(found[0].function.kind == ActivationKind::LeakyRelu);
  CHECK(found[0].function.alpha == 0.2F);
  CHECK(found[1].function.kind == ActivationKind::Clip);
  CHECK(found[1].function.alpha == 0.0F);
  CHECK(found[1].function.beta == 6.0F);
  CHECK(found[2].function.alpha == -std::numeric_limits<float>::infinity());
  CHECK(found[2].function.beta == 2.0F);
}

TEST_CASE("a Clip with computed bounds and activations of integers are no patterns") {
  Expression e(14);
  const ValueId low = e.input("low", DataType::Float32, {});
  e.output(e.apply("Clip", {e.x, low}));
  const ValueId integer = e.input("i", DataType::Int32, {4});
  e.output(e.apply("Relu", {integer}));
  CHECK(kinds(e.graph()).empty());
}

TEST_CASE("PRelu slopes are one, or one per channel of axis 1, padded for vector loads") {
  struct Slope {
    Shape shape;
    std::vector<std::int64_t> input;
    std::int64_t count;  ///< 0: no pattern
  };
  for (const Slope& s :
       {Slope{{1}, {2, 3, 4}, 1}, Slope{{3, 1}, {2, 3, 4}, 3}, Slope{{1, 3, 1}, {-1, 3, 4}, 3},
        Slope{{3}, {2, 3}, 3}, Slope{{4}, {2, 3, 4}, 0}, Slope{{3}, {3}, 0}}) {
    CAPTURE(to_string(s.shape));
    GraphBuilder builder(16);
    const ValueId x = builder.input("x", DataType::Float32, s.input);
    const Tensor slope = test::random_tensor(s.shape, 11);
    builder.output(builder.op("PRelu", "y", {x, builder.constant("slope", slope)}));
    const auto found = ops::match_activation(builder.graph(), builder.graph().order().back());
    REQUIRE(found.has_value() == (s.count != 0));
    if (!found) continue;
    CHECK(found->function.kind == ActivationKind::PRelu);
    CHECK(found->function.slope_count == s.count);
    REQUIRE(found->slopes != nullptr);
    CHECK(found->function.slopes == found->slopes->data());
    CHECK(found->slopes->size() == 16);
    for (std::size_t i = 0; i < 16; ++i) {
      CHECK((*found->slopes)[i] == (i < static_cast<std::size_t>(s.count) ? slope.data<float>()[i] : 0.0F));
    }
  }
}

TEST_CASE("the rank that a PRelu needs may follow from the nodes before it") {
  GraphBuilder builder(16);
  const ValueId x = builder.input("x", DataType::Float32, {1, 2, 8, 8});
  const ValueId weight = builder.constant("weight", test::random_tensor({3, 2, 3, 3}, 1));
  const ValueId left = builder.op("Conv", "left", {x, weight});
  const ValueId right = builder.op("Conv", "right", {x, weight});
  const ValueId sum = builder.op("Relu", "relu", {builder.op("Add", "sum", {left, right})});
  const ValueId slope = builder.constant("slope", test::random_tensor({3, 1, 1}, 2));
  builder.output(builder.op("PRelu", "y", {sum, slope}));
  CHECK(ops::match_activation(builder.graph(), builder.graph().order().back())->function.slope_count == 3);
  const ValueId unknown = builder.op("Reshape", "reshaped", {sum, builder.input("s", DataType::Int64, {4})});
  builder.output(builder.op("PRelu", "z", {unknown, slope}));
  CHECK(!ops::match_activation(builder.graph(), builder.graph().order().back()).has_value());
}

TEST_CASE("patterns come in the order of the graph, and parts of one are not listed") {
  Expression e;
  const ValueId silu = e.mul(e.x, e.sigmoid(e.x));
  const ValueId gate = e.sigmoid(silu);
  const ValueId gated = e.mul(silu, gate);
  const ValueId product = e.mul(gated, e.apply("Relu", {e.x}));
  e.output(e.tanh(product));
  CHECK(kinds(e.graph()) == std::vector<ActivationKind>{ActivationKind::Silu, ActivationKind::Silu,
                                                        ActivationKind::Relu, ActivationKind::Tanh});
}

TEST_CASE("half-precision constants are as near as they can be") {
  Expression e;
  const auto half = [&](const char* name, float value) {
    return e.constant(name, Tensor(Shape{}, std::vector<Half>{Half(value)}));
  };
  e.graph().value(e.x).type = DataType::Float16;
  const ValueId erf = e.erf(e.div(e.x, half("root", 1.41421356F)));
  e.output(e.mul(e.mul(e.x, e.add(erf, half("one", 1.0F))), half("half", 0.5F)));
  CHECK(kinds(e.graph()) == std::vector<ActivationKind>{ActivationKind::Gelu});
}

TEST_CASE("constants may come from Constant nodes") {
  Expression e;
  const ValueId six =
      e.apply("Constant", {}, {{"value", std::make_shared<const Tensor>(Tensor::scalar(6.0F))}});
  e.output(e.div(e.mul(e.x, e.clip(e.add(e.x, e.number(3)), 0, 6)), six));
  CHECK(kinds(e.graph()) == std::vector<ActivationKind>{ActivationKind::HardSwish});
}
