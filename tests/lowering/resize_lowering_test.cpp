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

using Dims = std::vector<std::int64_t>;

LoweringCase resize(const Dims& dims, const Dims& sizes, GraphBuilder::Attributes attributes) {
  GraphBuilder builder(19);
  LoweringCase test;
  const auto x = builder.input("x", DataType::Float32, dims);
  test.inputs.emplace("x", random_tensor(Shape(dims), 7));
  const auto wanted = builder.constant("sizes", Tensor({static_cast<std::int64_t>(sizes.size())}, sizes));
  builder.output(
      builder.op("Resize", "out", {x, graph::kNoValue, graph::kNoValue, wanted}, std::move(attributes)));
  test.graph = builder.graph();
  return test;
}

GraphBuilder::Attributes with(const std::string& mode, const std::string& transformation = "half_pixel") {
  return {{"mode", mode}, {"coordinate_transformation_mode", transformation}};
}

LoweringResult check(const LoweringCase& test) { return check_lowerings(test, {"resize_rows"}); }

}  // namespace

TEST_CASE("Resize: nearest by whole and broken factors, plain and blocked") {
  for (const Dims& to : {Dims{2, 13, 10, 14}, Dims{2, 13, 7, 3}, Dims{2, 13, 5, 21}, Dims{2, 13, 5, 7}}) {
    const LoweringResult result = check(resize({2, 13, 5, 7}, to, with("nearest", "asymmetric")));
    CHECK(result.accepted_blocked.contains("resize_rows"));
  }
}

TEST_CASE("Resize: linear in every coordinate transformation, plain and blocked") {
  for (const std::string mode :
       {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"}) {
    for (const Dims& to : {Dims{1, 9, 12, 26}, Dims{1, 9, 3, 33}, Dims{1, 9, 1, 1}}) {
      CAPTURE(mode);
      const LoweringResult result = check(resize({1, 9, 6, 13}, to, with("linear", mode)));
      CHECK(result.accepted_blocked.contains("resize_rows"));
    }
  }
}

TEST_CASE("Resize: cubic, antialiased, one axis, three axes, inner and outer axes") {
  check(resize({1, 3, 8, 9}, {1, 3, 17, 5}, with("cubic")));
  GraphBuilder::Attributes antialias = with("linear");
  antialias["antialias"] = std::int64_t{1};
  check(resize({1, 3, 16, 19}, {1, 3, 5, 7}, antialias));
  check(resize({2, 3, 8}, {2, 3, 19}, with("linear")));
  check(resize({1, 5, 4, 6, 7}, {1, 5, 8, 3, 14}, with("linear")));
  check(resize({2, 3, 4, 5}, {4, 3, 4, 5}, with("nearest")));
  check(resize({2, 3, 4, 5}, {2, 6, 4, 5}, with("linear")));
  check(resize({3, 4}, {3, 4}, with("linear")));
  check(resize({40}, {1000}, with("linear")));
}

TEST_CASE("Resize: large enough for several tasks") {
  check(resize({2, 24, 40, 50}, {2, 24, 80, 100}, with("linear", "align_corners")));
  check(resize({2, 24, 40, 50}, {2, 24, 80, 100}, with("nearest")));
}

TEST_CASE("Resize: what has no kernel is refused by name") {
  GraphBuilder builder(19);
  LoweringCase test;
  const auto x = builder.input("x", DataType::Float32, {1, 1, 2, 2});
  test.inputs.emplace("x", random_tensor({1, 1, 2, 2}, 7));
  const auto roi = builder.constant("roi", Tensor({8}, std::vector<float>{0, 0, 0, 0, 1, 1, 1, 1}));
  const auto sizes = builder.constant("sizes", Tensor({4}, Dims{1, 1, 3, 3}));
  builder.output(
      builder.op("Resize", "out", {x, roi, graph::kNoValue, sizes}, with("linear", "tf_crop_and_resize")));
  test.graph = builder.graph();
  const LoweringResult refused = run_lowerings(test);
  CHECK(refused.accepted.empty());
  CHECK(refused.refusals.at("resize_rows") == "tf_crop_and_resize");
}

}  // namespace ember::test
