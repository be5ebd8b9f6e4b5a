#include <doctest/doctest.h>

#include <limits>

#include <ember/error.hpp>

#include "support/run_op.hpp"

// Transpose, Concat, Split, Slice, Expand, Tile, Pad, DepthToSpace, SpaceToDepth.

using namespace ember;
using ember::test::elements_of;
using ember::test::run_op;
using ember::test::tensor_of;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

namespace {

Tensor ints(const Ints& values) { return {Shape{static_cast<std::int64_t>(values.size())}, values}; }
Tensor floats(const Shape& shape, const Floats& values) { return {shape, values}; }

void expect(const Tensor& out, const Shape& shape, const Floats& values) {
  CHECK(out.shape() == shape);
  CHECK(elements_of<float>(out) == values);
}

const Floats kSix{1, 2, 3, 4, 5, 6};

}  // namespace

TEST_CASE("Transpose") {
  const Tensor x = floats({2, 3}, kSix);
  expect(run_op("Transpose", 13, {x})[0], {3, 2}, {1, 4, 2, 5, 3, 6});
  expect(run_op("Transpose", 7, {floats({1, 2, 3}, kSix)}, {{"perm", Ints{2, 0, 1}}})[0], {3, 1, 2},
         {1, 4, 2, 5, 3, 6});
  const auto bytes = run_op("Transpose", 13, {tensor_of<std::uint8_t>({2, 2}, {1, 2, 3, 4})});
  CHECK(elements_of<std::uint8_t>(bytes[0]) == std::vector<std::uint8_t>{1, 3, 2, 4});
  CHECK(run_op("Transpose", 13, {floats({0, 2}, {})})[0].shape() == Shape{2, 0});
  expect(run_op("Transpose", 13, {floats({}, {7})})[0], {}, {7});
  CHECK_THROWS_AS(run_op("Transpose", 13, {x}, {{"perm", Ints{0, 0}}}), Error);
  CHECK_THROWS_AS(run_op("Transpose", 13, {x}, {{"perm", Ints{0, 2}}}), Error);
  CHECK_THROWS_AS(run_op("Transpose", 13, {x}, {{"perm", Ints{0}}}), Error);
}

TEST_CASE("Concat") {
  const Tensor a = floats({2, 1}, {1, 2});
  const Tensor b = floats({2, 2}, {3, 4, 5, 6});
  expect(run_op("Concat", 13, {a, b}, {{"axis", std::int64_t{1}}})[0], {2, 3}, {1, 3, 4, 2, 5, 6});
  expect(run_op("Concat", 13, {a, b, floats({2, 0}, {})}, {{"axis", std::int64_t{-1}}})[0], {2, 3},
         {1, 3, 4, 2, 5, 6});
  expect(run_op("Concat", 7, {b, b}, {{"axis", std::int64_t{0}}})[0], {4, 2}, {3, 4, 5, 6, 3, 4, 5, 6});
  CHECK_THROWS_AS(run_op("Concat", 13, {a, b}, {{"axis", std::int64_t{0}}}), Error);
  CHECK_THROWS_AS(run_op("Concat", 13, {a, ints({1})}, {{"axis", std::int64_t{0}}}), Error);
}

TEST_CASE("Split in every form") {
  const Tensor x = floats({6}, kSix);
  const auto halves = run_op("Split", 7, {x}, {}, 2);
  expect(halves[0], {3}, {1, 2, 3});
  expect(halves[1], {3}, {4, 5, 6});
  expect(run_op("Split", 11, {x}, {{"split", Ints{2, 4}}, {"axis", std::int64_t{-1}}}, 2)[1], {4},
         {3, 4, 5, 6});
  expect(run_op("Split", 13, {x, ints({1, 0, 5})}, {}, 3)[2], {5}, {2, 3, 4, 5, 6});
  const auto uneven = run_op("Split", 18, {x}, {{"num_outputs", std::int64_t{4}}}, 4);
  expect(uneven[0], {2}, {1, 2});
  expect(uneven[3], {0}, {});
  expect(run_op("Split", 13, {floats({2, 3}, kSix), ints({1, 2})}, {{"axis", std::int64_t{1}}}, 2)[1], {2, 2},
         {2, 3, 5, 6});
  CHECK_THROWS_AS(run_op("Split", 13, {x}, {}, 4), Error);
  CHECK_THROWS_AS(run_op("Split", 13, {x, ints({2, 3})}, {}, 2), Error);
  CHECK_THROWS_AS(run_op("Split", 13, {x, ints({7, -1})}, {}, 2), Error);
  CHECK_THROWS_AS(run_op("Split", 18, {x}, {}, 2), Error);
}

TEST_CASE("Slice clamps as NumPy does") {
  const Tensor x = floats({2, 3}, kSix);
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  expect(run_op("Slice", 9, {x}, {{"starts", Ints{1}}, {"ends", Ints{kMax}}, {"axes", Ints{1}}})[0], {2, 2},
         {2, 3, 5, 6});
  expect(run_op("Slice", 13, {x, ints({0, -2}), ints({1, kMax})})[0], {1, 2}, {2, 3});
  expect(run_op("Slice", 13, {x, ints({-1}), ints({kMin}), ints({-1}), ints({-1})})[0], {2, 3},
         {3, 2, 1, 6, 5, 4});
  expect(run_op("Slice", 13, {x, ints({kMax}), ints({-4}), ints({1}), ints({-2})})[0], {2, 2}, {3, 1, 6, 4});
  expect(run_op("Slice", 13, {x, ints({2}), ints({1}), ints({1})})[0], {2, 0}, {});
  expect(run_op("Slice", 13, {x, ints({0}), ints({kMax}), ints({1}), ints({kMax})})[0], {2, 1}, {1, 4});
  expect(run_op("Slice", 13, {x, ints({2}), ints({kMin}), ints({1}), ints({kMin})})[0], {2, 1}, {3, 6});
  CHECK_THROWS_AS(run_op("Slice", 13, {x, ints({0}), ints({1}), ints({2})}), Error);
  CHECK_THROWS_AS(run_op("Slice", 13, {x, ints({0}), ints({1}), ints({0}), ints({0})}), Error);
  CHECK_THROWS_AS(run_op("Slice", 13, {x, ints({0, 0}), ints({1, 1}), ints({0, -2})}), Error);
  CHECK_THROWS_AS(run_op("Slice", 13, {x, ints({0, 0}), ints({1})}), Error);
}

TEST_CASE("Expand and Tile") {
  const Tensor x = floats({2, 1}, {1, 2});
  expect(run_op("Expand", 13, {x, ints({3})})[0], {2, 3}, {1, 1, 1, 2, 2, 2});
  expect(run_op("Expand", 8, {x, ints({2, 1, 1})})[0], {2, 2, 1}, {1, 2, 1, 2});
  expect(run_op("Expand", 13, {x, ints({2, 0})})[0], {2, 0}, {});
  expect(run_op("Tile", 13, {floats({1, 2}, {1, 2}), ints({2, 2})})[0], {2, 4}, {1, 2, 1, 2, 1, 2, 1, 2});
  expect(run_op("Tile", 7, {x, ints({1, 0})})[0], {2, 0}, {});
  CHECK_THROWS_AS(run_op("Expand", 13, {x, ints({3, 1})}), Error);
  CHECK_THROWS_AS(run_op("Expand", 13, {x, ints({-1})}), Error);
  CHECK_THROWS_AS(run_op("Tile", 13, {x, ints({1})}), Error);
  CHECK_THROWS_AS(run_op("Tile", 13, {x, ints({1, -1})}), Error);
  CHECK_THROWS_AS(run_op("Tile", 13, {x, ints({std::int64_t{1} << 62, 4})}), Error);
}

TEST_CASE("an output beyond sane memory is refused by name") {
  try {
    run_op("Expand", 13, {floats({1}, {1}), ints({std::int64_t{1} << 40})});
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::ResourceLimit);
    CHECK(error.context().node == "out_node");
  }
}

TEST_CASE("Pad: modes, crops, axes") {
  const Tensor x = floats({3}, {1, 2, 3});
  const auto pad = [&](const std::string& mode, const Ints& pads) {
    return elements_of<float>(run_op("Pad", 19, {x, ints(pads)}, {{"mode", mode}})[0]);
  };
  CHECK(pad("constant", {1, 2}) == Floats{0, 1, 2, 3, 0, 0});
  CHECK(pad("constant", {-1, 1}) == Floats{2, 3, 0});
  CHECK(pad("edge", {2, 1}) == Floats{1, 1, 1, 2, 3, 3});
  CHECK(pad("reflect", {2, 2}) == Floats{3, 2, 1, 2, 3, 2, 1});
  CHECK(pad("reflect", {0, 5}) == Floats{1, 2, 3, 2, 1, 2, 3, 2});
  CHECK(pad("wrap", {1, 4}) == Floats{3, 1, 2, 3, 1, 2, 3, 1});
  expect(run_op("Pad", 7, {x}, {{"pads", Ints{1, 0}}, {"value", -1.5F}})[0], {4}, {-1.5F, 1, 2, 3});
  expect(run_op("Pad", 18, {floats({1, 2}, {1, 2}), ints({0, 1}), floats({}, {9}), ints({-2})})[0], {2, 2},
         {1, 2, 9, 9});
  const auto whole = run_op("Pad", 13, {ints({4}), ints({1, 0}), Tensor::scalar<std::int64_t>(-7)});
  CHECK(elements_of<std::int64_t>(whole[0]) == Ints{-7, 4});
}

TEST_CASE("Pad refuses nonsense") {
  const Tensor x = floats({3}, {1, 2, 3});
  CHECK_THROWS_AS(run_op("Pad", 18, {x, ints({0, 0})}, {{"mode", std::string("wrap")}}), Error);  // since 19
  CHECK_THROWS_AS(run_op("Pad", 13, {x, ints({1})}), Error);
  CHECK_THROWS_AS(run_op("Pad", 13, {x, ints({-2, -2})}), Error);
  CHECK_THROWS_AS(run_op("Pad", 13, {x, ints({std::numeric_limits<std::int64_t>::min(), 0})}), Error);
  CHECK_THROWS_AS(run_op("Pad", 13, {x, ints({1, 1}), Tensor::scalar<std::int64_t>(1)}), Error);
  CHECK_THROWS_AS(run_op("Pad", 13, {floats({0}, {}), ints({1, 0})}, {{"mode", std::string("edge")}}), Error);
}

TEST_CASE("DepthToSpace and SpaceToDepth") {
  Floats counted(8);
  for (std::size_t i = 0; i < counted.size(); ++i) counted[i] = static_cast<float>(i);
  const Tensor deep = floats({1, 8, 1, 1}, counted);
  const ember::test::GraphBuilder::Attributes two{{"blocksize", std::int64_t{2}}};
  expect(run_op("DepthToSpace", 7, {deep}, two)[0], {1, 2, 2, 2}, {0, 2, 4, 6, 1, 3, 5, 7});
  auto crd = two;
  crd["mode"] = std::string("CRD");
  expect(run_op("DepthToSpace", 13, {deep}, crd)[0], {1, 2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  expect(run_op("SpaceToDepth", 13, {floats({1, 2, 2, 2}, counted)}, two)[0], {1, 8, 1, 1},
         {0, 4, 1, 5, 2, 6, 3, 7});
  CHECK_THROWS_AS(run_op("DepthToSpace", 13, {floats({1, 6, 1, 1}, kSix)}, two), Error);
  CHECK_THROWS_AS(run_op("SpaceToDepth", 13, {floats({1, 2, 3, 1}, kSix)}, two), Error);
  CHECK_THROWS_AS(run_op("SpaceToDepth", 13, {floats({1, 2, 3, 1}, kSix)}), Error);
}
