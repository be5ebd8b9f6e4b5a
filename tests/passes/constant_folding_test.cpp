#include <cstdlib>

#include <doctest/doctest.h>

#include <ember/error.hpp>

#include "passes/pass_support.hpp"

using namespace ember;
using test::check_pass;
using test::GraphBuilder;
using test::random_tensor;

TEST_CASE("what follows from constants alone becomes a constant under its name") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2, 3});
  const auto c =
      b.op("Constant", "c", {}, {{"value", std::make_shared<const Tensor>(random_tensor(Shape{2, 3}, 5))}});
  const auto sum = b.op("Add", "sum", {c, b.constant("d", random_tensor(Shape{3}, 6))});
  b.output(b.op("Add", "y", {x, sum}));
  check_pass("constant_folding", b.graph(), 2);
  REQUIRE(b.graph().constant(sum) != nullptr);
  CHECK(b.graph().value(sum).name == "sum");
  CHECK(b.graph().order().size() == 1);
}

TEST_CASE("a Constant's tensor is shared, not copied") {
  GraphBuilder b;
  const auto tensor = std::make_shared<const Tensor>(random_tensor(Shape{4}, 5));
  const auto c = b.op("Constant", "c", {}, {{"value", tensor}});
  b.output(b.op("Relu", "y", {c}));
  check_pass("constant_folding", b.graph(), 1);
  CHECK(b.graph().constant(c) == tensor.get());
}

TEST_CASE("a large tensor is not made out of a small one") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {1});
  const auto shape = b.constant("shape", Tensor(Shape{1}, std::vector<std::int64_t>{std::int64_t{1} << 40}));
  b.output(b.op("Add", "y", {x, b.op("ConstantOfShape", "large", {shape})}));
  CHECK(test::run_pass("constant_folding", b.graph()) == 0);
}

TEST_CASE("all passes together reach a fixpoint") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {1, 2, 5, 5});
  const auto w = b.op("Identity", "w", {b.constant("w0", random_tensor(Shape{3, 2, 3, 3}, 1))});
  const auto amounts =
      b.op("Identity", "amounts",
           {b.constant("a0", Tensor(Shape{8}, std::vector<std::int64_t>{0, 0, 1, 1, 0, 0, 1, 1}))});
  const auto conv = b.op("Conv", "conv", {b.op("Pad", "padded", {x, amounts}), w});
  const auto dropped = b.op("Dropout", "dropped", {conv});
  std::vector<graph::ValueId> inputs = {dropped};
  for (const char* name : {"scale", "shift", "mean", "variance"}) {
    inputs.push_back(b.constant(name, random_tensor(Shape{3}, inputs.size(), 0.5F, 1.5F)));
  }
  b.output(b.op("Relu", "y", {b.op("BatchNormalization", "normed", inputs)}));
  const auto given = test::random_inputs(b.graph());
  const auto before = ops::interpret(b.graph(), given);
  ::setenv("EMBER_VERIFY", "1", 1);
  passes::run_portable_passes(b.graph());
  ::unsetenv("EMBER_VERIFY");
  CHECK(b.graph().order().size() == 2);
  CHECK(test::mismatch(ops::interpret(b.graph(), given)[0].view(), before[0].view(), 1e-5, 1e-5) <= 1.0);
}

TEST_CASE("a pass can be left out, and only a pass that exists") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2});
  b.output(b.op("Relu", "y", {b.op("Identity", "same", {x})}));
  passes::run_portable_passes(b.graph(), {"identity_removal"});
  CHECK(b.graph().order().size() == 2);
  CHECK_THROWS_AS(passes::run_portable_passes(b.graph(), {"no_such_pass"}), Error);
}
