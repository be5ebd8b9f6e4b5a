#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/graph_builder.hpp"
#include "support/lowering_harness.hpp"
#include "support/random_tensor.hpp"

namespace ember::test {

namespace {

using Strings = std::vector<std::string>;

struct Extents {
  std::int64_t steps, batch, inputs, hidden;
};

/// What of the optional inputs a case has.
struct Optional {
  bool bias = true, state = true, constant_state = false, peepholes = false;
  std::vector<std::int32_t> lengths;
};

LoweringCase cell(const std::string& op, const Extents& e, GraphBuilder::Attributes attributes,
                  const Optional& with = {}) {
  const std::int64_t gates = (op == "LSTM" ? 4 : op == "GRU" ? 3 : 1) * e.hidden;
  const auto direction = attributes.find("direction");
  const bool both =
      direction != attributes.end() && std::get<std::string>(direction->second) == "bidirectional";
  const std::int64_t d = both ? 2 : 1;
  const bool batch_first = attributes.contains("layout");
  GraphBuilder builder;
  LoweringCase test;
  // Small enough that errors do not grow from step to step.
  const float amplitude = 1.2F / std::sqrt(static_cast<float>(e.hidden + 8));
  const auto constant = [&](const std::string& name, const Shape& shape) {
    return builder.constant(name, random_tensor(shape, 3 + name.size() + name.back(), -amplitude, amplitude));
  };
  const auto input = [&](const std::string& name, const std::vector<std::int64_t>& dims) {
    test.inputs.emplace(name, random_tensor(Shape(dims), 5 + name.size() + name.back()));
    return builder.input(name, DataType::Float32, dims);
  };
  const auto state = [&](const std::string& name) {
    if (!with.state) return graph::kNoValue;
    const std::vector<std::int64_t> dims =
        batch_first ? std::vector{e.batch, d, e.hidden} : std::vector{d, e.batch, e.hidden};
    return with.constant_state ? constant(name, Shape(dims)) : input(name, dims);
  };
  std::vector<graph::ValueId> ids;
  ids.push_back(input(
      "x", batch_first ? std::vector{e.batch, e.steps, e.inputs} : std::vector{e.steps, e.batch, e.inputs}));
  ids.push_back(constant("w", {d, gates, e.inputs}));
  ids.push_back(constant("r", {d, gates, e.hidden}));
  ids.push_back(with.bias ? constant("b", {d, 2 * gates}) : graph::kNoValue);
  ids.push_back(with.lengths.empty() ? graph::kNoValue
                                     : builder.constant("lengths", Tensor({e.batch}, with.lengths)));
  ids.push_back(state("h"));
  if (op == "LSTM") {
    ids.push_back(state("c"));
    ids.push_back(with.peepholes ? constant("p", {d, 3 * e.hidden}) : graph::kNoValue);
  }
  const int outputs = op == "LSTM" ? 3 : 2;
  for (const graph::ValueId id : builder.node(op, "out", ids, std::move(attributes), outputs))
    builder.output(id);
  test.graph = builder.graph();
  return test;
}

void check(const LoweringCase& test) { check_lowerings(test, {"recurrent_packed"}); }

}  // namespace

TEST_CASE("LSTM, GRU and RNN: odd extents, every direction, both layouts") {
  for (const std::string op : {"LSTM", "GRU", "RNN"}) {
    for (const Extents e :
         {Extents{1, 1, 1, 1}, Extents{3, 2, 5, 7}, Extents{5, 9, 13, 16}, Extents{2, 17, 3, 33}}) {
      for (const std::string direction : {"forward", "reverse", "bidirectional"}) {
        CAPTURE(op);
        CAPTURE(e.hidden);
        CAPTURE(direction);
        check(cell(op, e, {{"direction", direction}}));
        check(cell(op, e, {{"direction", direction}, {"layout", std::int64_t{1}}}));
      }
    }
  }
}

TEST_CASE("recurrent cells: without bias or state, with constant state, with a sequence per length") {
  const Extents e{6, 3, 4, 5};
  for (const std::string op : {"LSTM", "GRU", "RNN"}) {
    CAPTURE(op);
    check(cell(op, e, {}, {.bias = false, .state = false}));
    check(cell(op, e, {}, {.constant_state = true}));
    check(cell(op, e, {{"direction", std::string("bidirectional")}}, {.lengths = {6, 0, 3}}));
  }
}

TEST_CASE("recurrent cells: several blocks of steps") {
  for (const std::string op : {"LSTM", "GRU", "RNN"}) {
    CAPTURE(op);
    check(cell(op, {70, 8, 6, 128}, {{"direction", std::string("reverse")}}));
  }
}

TEST_CASE("LSTM: peepholes and clip") {
  check(cell("LSTM", {4, 2, 3, 9}, {{"clip", 0.3F}}, {.peepholes = true}));
}

TEST_CASE("GRU: reset after the recurrent product") {
  for (const bool bias : {true, false})
    check(cell("GRU", {4, 9, 3, 9}, {{"linear_before_reset", std::int64_t{1}}}, {.bias = bias}));
}

TEST_CASE("recurrent cells: other activations; those without a kernel are refused by name") {
  for (const std::string name :
       {"Relu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu", "Softsign", "Softplus", "Sigmoid"}) {
    CAPTURE(name);
    check(cell("RNN", {3, 2, 4, 5}, {{"activations", Strings{name}}}));
  }
  const LoweringResult refused =
      run_lowerings(cell("RNN", {1, 1, 1, 1}, {{"activations", Strings{"Affine"}}}));
  CHECK(refused.accepted.empty());
  CHECK(refused.refusals.at("recurrent_packed") == "activation Affine or ScaledTanh");
}

}  // namespace ember::test
