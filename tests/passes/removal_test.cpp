#include <doctest/doctest.h>

#include "passes/pass_support.hpp"

using namespace ember;
using test::check_pass;
using test::count_op;
using test::GraphBuilder;

TEST_CASE("an Identity in the middle goes") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2, 3});
  b.output(b.op("Relu", "y", {b.op("Identity", "same", {x})}));
  check_pass("identity_removal", b.graph(), 1);
  CHECK(b.graph().order().size() == 1);
}

TEST_CASE("an Identity that makes an output leaves the output's name behind") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2, 3});
  b.output(b.op("Identity", "y", {b.op("Relu", "inner", {x})}));
  check_pass("identity_removal", b.graph(), 1);
  CHECK(b.graph().order().size() == 1);
}

TEST_CASE("an Identity between an input or another output and an output stays") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2, 3});
  b.output(b.op("Identity", "copy", {x}));
  const auto y = b.op("Relu", "y", {x});
  b.output(y);
  b.output(b.op("Identity", "again", {y}));
  check_pass("identity_removal", b.graph(), 0);
}

TEST_CASE("a Dropout goes unless its mask is wanted") {
  GraphBuilder b(13);
  const auto x = b.input("x", DataType::Float32, {2, 3});
  const auto dropped = b.node("Dropout", "dropped", {x}, {}, 2);
  b.output(b.op("Relu", "y", {dropped[0]}));
  SUBCASE("not wanted") {
    check_pass("dropout_removal", b.graph(), 1);
    CHECK(count_op(b.graph(), "Dropout") == 0);
  }
  SUBCASE("wanted") {
    b.output(dropped[1]);
    CHECK(test::run_pass("dropout_removal", b.graph()) == 0);
  }
}

TEST_CASE("nodes and constants nobody needs go") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2, 3});
  const auto unread = b.constant("unread", test::random_tensor(Shape{3}, 1));
  b.op("Relu", "dead_end", {b.op("Identity", "dead", {x})});
  b.output(b.op("Relu", "y", {x}));
  check_pass("dead_code", b.graph(), 2);
  CHECK(b.graph().constant(unread) == nullptr);
}
