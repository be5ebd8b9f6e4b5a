#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "simd/isa.hpp"
#include "support/graph_builder.hpp"
#include "support/lowering_harness.hpp"
#include "support/random_tensor.hpp"

namespace ember::test {

namespace {

using Dims = std::vector<std::int64_t>;

/// A node on random inputs; those listed in `constant` are known to the plan.
LoweringCase product(const std::string& op, const std::vector<Dims>& shapes,
                     const std::vector<bool>& constant, GraphBuilder::Attributes attributes = {}) {
  GraphBuilder builder;
  LoweringCase test;
  std::vector<graph::ValueId> ids;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const std::string name = "in" + std::to_string(i);
    Tensor tensor = random_tensor(Shape(shapes[i]), 17 + i);
    if (constant[i]) {
      ids.push_back(builder.constant(name, std::move(tensor)));
    } else {
      ids.push_back(builder.input(name, DataType::Float32, shapes[i]));
      test.inputs.emplace(name, std::move(tensor));
    }
  }
  builder.output(builder.op(op, "out", ids, std::move(attributes)));
  test.graph = builder.graph();
  test.relative = 2e-5;
  test.absolute = 2e-5;
  return test;
}

kernels::Activation activation(kernels::ActivationKind kind, float alpha = 0.0F, float beta = 0.0F) {
  return {.kind = kind, .alpha = alpha, .beta = beta};
}

}  // namespace

TEST_CASE("Gemm: every row count, width and depth around the tile sizes") {
  for (const std::int64_t m : {1, 2, 5, 6, 7, 13, 64}) {
    for (const std::int64_t n : {1, 7, 16, 17, 100}) {
      for (const std::int64_t k : {1, 3, 100}) {
        CAPTURE(m);
        CAPTURE(n);
        CAPTURE(k);
        check_lowerings(product("Gemm", {{m, k}, {k, n}, {n}}, {false, true, true}), {"gemm_packed"});
      }
    }
  }
}

TEST_CASE("Gemm: few rows, dense or with most inputs zero, have the bits of many rows") {
  const std::int64_t k = 200;
  for (const std::int64_t n : {41, 64, 120}) {
    for (const std::int64_t m : {1, 2, 3, 4}) {
      for (const int one_in : {1, 3, 12, 1000}) {
        LoweringCase few = product("Gemm", {{m, k}, {k, n}, {n}}, {false, true, true});
        few.epilogue.before.kind = kernels::ActivationKind::Relu;
        const auto x = few.inputs.at("in0").data<float>();
        for (std::size_t i = 0; i < x.size(); ++i) {
          if (i % static_cast<std::size_t>(one_in) != 0) x[i] = i % 2 == 0 ? 0.0F : -0.0F;
        }
        check_lowerings(few, {"gemm_packed"});
        // The same rows among others, which take another way through the kernel.
        LoweringCase many = product("Gemm", {{m + 9, k}, {k, n}, {n}}, {false, true, true});
        many.epilogue = few.epilogue;
        std::ranges::copy(x, many.inputs.at("in0").data<float>().begin());
        for (const simd::Isa isa : simd::available_isas()) {
          CAPTURE(m);
          CAPTURE(n);
          CAPTURE(one_in);
          const Tensor a = run_candidate(few, "gemm_packed", isa);
          const Tensor b = run_candidate(many, "gemm_packed", isa);
          CHECK(std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
        }
      }
    }
  }
}

TEST_CASE("Gemm: weights that are not finite meet every input, zeros too") {
  for (const float bad : {INFINITY, NAN}) {
    GraphBuilder builder;
    LoweringCase test;
    Tensor x(DataType::Float32, {1, 200});
    x.data<float>()[3] = 1.0F;
    Tensor w = random_tensor({200, 64}, 5);
    w.data<float>()[150 * 64 + 7] = bad;  // times zero: NaN
    builder.output(builder.op("MatMul", "y",
                              {builder.input("x", DataType::Float32, {1, 200}), builder.constant("w", w)}));
    test.inputs.emplace("x", std::move(x));
    test.graph = builder.graph();
    check_lowerings(test, {"gemm_packed"});
  }
}

TEST_CASE("Gemm: deep and wide enough for every blocking") {
  check_lowerings(product("Gemm", {{13, 1025}, {1025, 513}, {513}}, {false, true, true}), {"gemm_packed"});
  check_lowerings(product("Gemm", {{1, 1025}, {1025, 513}, {513}}, {false, true, true}), {"gemm_packed"});
  check_lowerings(product("Gemm", {{127, 513}, {513, 100}, {100}}, {false, true, true}), {"gemm_packed"});
}

TEST_CASE("Gemm: transposes, factors and every shape of C, constant or not") {
  const GraphBuilder::Attributes attributes = {
      {"transA", std::int64_t{1}}, {"transB", std::int64_t{1}}, {"alpha", 0.5F}, {"beta", -2.0F}};
  for (const bool b : {true, false}) {
    for (const bool constant : {true, false}) {
      for (const Dims& c : {Dims{21}, Dims{1, 21}, Dims{9, 1}, Dims{9, 21}, Dims{1}, Dims{}}) {
        check_lowerings(product("Gemm", {{33, 9}, {21, 33}, c}, {false, b, constant}, attributes),
                        {"gemm_packed"});
      }
    }
    check_lowerings(product("Gemm", {{33, 9}, {21, 33}}, {false, b}, attributes), {"gemm_packed"});
  }
}

TEST_CASE("MatMul: stacks, vectors, and either operand constant") {
  const std::vector<std::pair<Dims, Dims>> shapes = {{{5}, {5}},
                                                     {{5}, {5, 9}},
                                                     {{7, 5}, {5}},
                                                     {{2, 3, 7, 5}, {5, 18}},
                                                     {{2, 3, 7, 5}, {5}},
                                                     {{4, 7, 5}, {4, 5, 6}},
                                                     {{3, 1, 7, 5}, {2, 5, 33}},
                                                     {{7, 5}, {3, 5, 40}},
                                                     {{2, 1, 65}, {2, 65, 70}}};
  for (const auto& [a, b] : shapes) {
    for (const bool constant : {true, false}) {
      check_lowerings(product("MatMul", {a, b}, {false, constant}), {"gemm_packed"});
    }
    check_lowerings(product("MatMul", {a, b}, {true, false}), {"gemm_packed"});
  }
}

TEST_CASE("Gemm and MatMul: everything that is fused behind them") {
  using enum kernels::ActivationKind;
  for (const auto kind : {None, Relu, Clip, LeakyRelu, Gelu, Sigmoid, Tanh}) {
    for (const bool residual : {false, true}) {
      for (const std::int64_t m : {1, 13}) {
        LoweringCase test = product("Gemm", {{m, 40}, {40, 37}, {37}}, {false, true, true});
        test.epilogue.before = activation(kind, kind == LeakyRelu ? 0.1F : -0.5F, 0.75F);
        test.epilogue.residual = residual;
        test.epilogue.after = activation(residual ? Relu : None);
        check_lowerings(test, {"gemm_packed"});
      }
    }
  }
  LoweringCase after = product("MatMul", {{2, 3, 40}, {40, 37}}, {false, true});
  after.epilogue.residual = true;
  after.epilogue.after = activation(Gelu);
  check_lowerings(after, {"gemm_packed"});
}

TEST_CASE("Gemm: PRelu slopes per column") {
  LoweringCase test = product("Gemm", {{7, 12}, {12, 37}, {37}}, {false, true, true});
  auto slopes = std::make_shared<std::vector<float>>(48, 0.0F);
  for (std::size_t i = 0; i < 37; ++i) (*slopes)[i] = 0.02F * static_cast<float>(i);
  test.epilogue.before = {
      .kind = kernels::ActivationKind::PRelu, .slopes = slopes->data(), .slope_count = 37};
  test.epilogue.slopes_before = slopes;
  check_lowerings(test, {"gemm_packed"});
}

}  // namespace ember::test
