#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "core/parallel.hpp"
#include "ops/interpreter.hpp"
#include "plan/plan.hpp"
#include "plan/specialize.hpp"
#include "runtime/execution.hpp"
#include "simd/isa.hpp"
#include "support/compiled.hpp"
#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"
#include "support/two_workers.hpp"

// Attention written out in several ways, and products with what follows them, run as one step and mean what
// their nodes mean.

using namespace ember;
using test::GraphBuilder;

namespace {

enum class Mask : std::uint8_t { None, PerKey, Full, Constant };

struct Form {
  std::int64_t batch = 1, heads = 3, rows = 5, keys = 5, depth = 8, width = 8;
  Mask mask = Mask::None;
  bool transposed_twice = false;  ///< keys as Transpose(Transpose(x)) instead of one permutation
  bool multiplied = false;        ///< by a factor instead of divided, on the left
  bool merged = true;             ///< heads are joined again by a Transpose
};

using Perm = std::vector<std::int64_t>;

GraphBuilder attention(const Form& f) {
  GraphBuilder b;
  const auto stack = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    return b.input(name, DataType::Float32, {f.batch, rows, f.heads, columns});
  };
  const auto q = b.op("Transpose", "q_heads", {stack("q", f.rows, f.depth)}, {{"perm", Perm{0, 2, 1, 3}}});
  const auto k_in = stack("k", f.keys, f.depth);
  graph::ValueId k = graph::kNoValue;
  if (f.transposed_twice) {
    k = b.op("Transpose", "k_heads", {k_in}, {{"perm", Perm{0, 2, 1, 3}}});
    k = b.op("Transpose", "k_turned", {k}, {{"perm", Perm{0, 1, 3, 2}}});
  } else {
    k = b.op("Transpose", "k_turned", {k_in}, {{"perm", Perm{0, 2, 3, 1}}});
  }
  const auto v = b.op("Transpose", "v_heads", {stack("v", f.keys, f.width)}, {{"perm", Perm{0, 2, 1, 3}}});
  auto scores = b.op("MatMul", "scores", {q, k});
  if (f.multiplied) scores = b.op("Mul", "scaled", {b.constant("c", Tensor::scalar(0.3F)), scores});
  else scores = b.op("Div", "scaled", {scores, b.constant("c", Tensor::scalar(2.5F))});
  if (f.mask == Mask::PerKey)
    scores = b.op("Add", "masked", {scores, b.input("mask", DataType::Float32, {f.batch, 1, 1, f.keys})});
  if (f.mask == Mask::Full)
    scores = b.op("Add", "masked", {b.input("mask", DataType::Float32, {f.heads, f.rows, f.keys}), scores});
  if (f.mask == Mask::Constant)
    scores = b.op("Add", "masked", {scores, b.constant("mask", test::random_tensor({f.rows, f.keys}, 9))});
  auto y = b.op("MatMul", "mixed", {b.op("Softmax", "weights", {scores}, {{"axis", std::int64_t{-1}}}), v});
  if (f.merged) y = b.op("Transpose", "y", {y}, {{"perm", Perm{0, 2, 1, 3}}});
  b.output(y);
  return b;
}

std::shared_ptr<const plan::Plan> compile(const graph::Graph& graph, simd::Isa isa,
                                          std::vector<plan::ProbeRequest> probes = {}) {
  plan::PlanOptions options;
  options.isa = isa;
  options.input_shapes = plan::resolve_input_shapes(graph, {});
  options.micro_batch = options.input_shapes.begin()->second[0];  // whole: the steps themselves are looked at
  options.probes = std::move(probes);
  return test::compiled(graph, options);
}

std::map<std::string, Tensor> inputs_of(const graph::Graph& graph) {
  std::map<std::string, Tensor> inputs;
  std::uint64_t seed = 1;
  for (const graph::ValueId id : graph.inputs) {
    std::vector<std::int64_t> dims;
    for (const graph::Dim& dim : *graph.value(id).dims) dims.push_back(dim.size);
    Tensor tensor = test::random_tensor(Shape(dims), seed++, -2.0, 2.0);
    if (graph.value(id).name == "mask") {
      const auto values = tensor.data<float>();
      for (std::size_t i = 0; i < values.size(); i += 3) values[i] = -10000.0F;
    }
    inputs.emplace(graph.value(id).name, std::move(tensor));
  }
  return inputs;
}

Tensor run(const std::shared_ptr<const plan::Plan>& plan, const graph::Graph& graph,
           const std::map<std::string, Tensor>& inputs, Parallel& parallel) {
  runtime::Execution execution(plan, parallel.threads());
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const Tensor& given = inputs.at(graph.value(graph.inputs[i]).name);
    std::memcpy(execution.input(i).raw(), given.raw(), given.bytes());
  }
  execution.run(parallel, {}, nullptr);
  return Tensor(execution.output(0));
}

/// One step on every instruction set, right, and the same with one worker and two.
void check_single_step(const GraphBuilder& b, const std::string& implementation) {
  const auto inputs = inputs_of(b.graph());
  const Tensor expected = ops::interpret(b.graph(), inputs)[0];
  for (const simd::Isa isa : simd::available_isas()) {
    CAPTURE(simd::to_string(isa));
    const auto plan = compile(b.graph(), isa);
    REQUIRE(plan->steps.size() == 1);
    CHECK(plan->steps[0].implementation == implementation);
    CHECK(plan->fully_static);
    SerialParallel serial;
    test::TwoWorkers two;
    const Tensor alone = run(plan, b.graph(), inputs, serial);
    CHECK(test::mismatch(alone.view(), expected.view(), 1e-5, 1e-5) <= 1.0);
    const Tensor shared = run(plan, b.graph(), inputs, two);
    CHECK(std::memcmp(alone.raw(), shared.raw(), alone.bytes()) == 0);
  }
}

void check(const Form& form) {
  CAPTURE(form.rows);
  CAPTURE(form.keys);
  CAPTURE(form.depth);
  CAPTURE(static_cast<int>(form.mask));
  check_single_step(attention(form), "attention_by_rows");
}

}  // namespace

TEST_CASE("attention: every number of rows, keys and columns around the tile sizes") {
  for (const std::int64_t rows : {1, 3, 14, 65, 197}) {
    for (const std::int64_t keys : {1, 31, 128, 197})
      check({.rows = rows, .keys = keys, .depth = 12, .width = 20});
  }
  check({.rows = 40, .keys = 70, .depth = 64, .width = 64});
  check({.batch = 2, .heads = 1, .rows = 7, .keys = 9, .depth = 1, .width = 1});
}

TEST_CASE("attention: masks, scales and transpositions as exporters write them") {
  for (const Mask mask : {Mask::None, Mask::PerKey, Mask::Full, Mask::Constant}) {
    for (const bool twice : {false, true}) {
      check({.batch = 3, .rows = 18, .keys = 37, .mask = mask, .transposed_twice = twice});
      check({.batch = 2, .rows = 18, .keys = 37, .mask = mask, .multiplied = twice, .merged = twice});
    }
  }
}

TEST_CASE("attention: more heads than are packed at once") {
  check({.batch = 4, .heads = 5, .rows = 130, .keys = 200, .depth = 64, .width = 64, .mask = Mask::PerKey});
}

TEST_CASE("attention: a value inside that is watched stays, and so do Transposes that others read") {
  const GraphBuilder b = attention({.rows = 6, .keys = 6});
  const auto watched = compile(b.graph(), simd::available_isas().back(), {{.value = "weights"}});
  for (const plan::PlannedStep& step : watched->steps) CHECK(step.op != "FusedAttention");

  GraphBuilder shared = attention({.rows = 6, .keys = 6});
  shared.output(shared.op("Neg", "z", {shared.graph().find_value("k_turned")}));
  const auto plan = compile(shared.graph(), simd::available_isas().back());
  int attentions = 0;
  for (const plan::PlannedStep& step : plan->steps) attentions += step.op == "FusedAttention" ? 1 : 0;
  CHECK(attentions == 1);
  const auto inputs = inputs_of(shared.graph());
  SerialParallel serial;
  const Tensor y = run(plan, shared.graph(), inputs, serial);
  CHECK(test::mismatch(y.view(), ops::interpret(shared.graph(), inputs)[0].view(), 1e-5, 1e-5) <= 1.0);
}

TEST_CASE("attention: what only looks like it is left alone") {
  const auto attentions = [](const GraphBuilder& b) {
    const auto plan = compile(b.graph(), simd::available_isas().back());
    int count = 0;
    for (const plan::PlannedStep& step : plan->steps) count += step.op == "FusedAttention" ? 1 : 0;
    return count;
  };
  // Along another axis, broadcast over the batch, and with the mask scaled too.
  const std::vector<std::int64_t> dims = {2, 3, 8, 8};
  const auto built = [&](std::int64_t axis, std::int64_t batch, bool scaled_last) {
    GraphBuilder b;
    const auto q = b.input("q", DataType::Float32, dims);
    const auto k = b.input("k", DataType::Float32, {batch, 3, 8, 8});
    auto scores = b.op("MatMul", "scores", {q, k});
    if (scaled_last) {
      scores = b.op("Add", "masked", {scores, b.input("mask", DataType::Float32, {8})});
      scores = b.op("Mul", "scaled", {scores, b.constant("c", Tensor::scalar(0.5F))});
    }
    const auto weights = b.op("Softmax", "weights", {scores}, {{"axis", axis}});
    b.output(b.op("MatMul", "y", {weights, b.input("v", DataType::Float32, dims)}));
    return b;
  };
  CHECK(attentions(built(3, 2, false)) == 1);
  CHECK(attentions(built(2, 2, false)) == 0);
  CHECK(attentions(built(3, 1, false)) == 0);
  CHECK(attentions(built(3, 2, true)) == 0);
}

TEST_CASE("a product with bias, Gelu and residual is one step") {
  for (const std::int64_t rows : {1, 2, 5, 13, 40}) {
    for (const std::int64_t columns : {1, 17, 64, 100}) {
      for (const std::int64_t depth : {3, 200}) {
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(depth);
        GraphBuilder b(20);
        const auto x = b.input("x", DataType::Float32, {2, rows, depth});
        const auto shortcut = b.input("shortcut", DataType::Float32, {2, rows, columns});
        const auto w = b.constant("w", test::random_tensor({depth, columns}, 5, -0.25, 0.25));
        auto y = b.op("MatMul", "product", {x, w});
        y = b.op("Add", "biased", {y, b.constant("b", test::random_tensor({columns}, 6))});
        y = b.op("Gelu", "gelu", {y});
        b.output(b.op("Add", "y", {shortcut, y}));
        check_single_step(b, "gemm_packed");
      }
    }
  }
}
