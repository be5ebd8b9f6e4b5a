#include <doctest/doctest.h>

#include <ember/error.hpp>

#include "support/run_op.hpp"

using namespace ember;
using ember::test::elements_of;
using ember::test::GraphBuilder;
using ember::test::run_op;

namespace {

using Floats = std::vector<float>;
using Sizes = std::vector<std::int64_t>;

Tensor row(const Floats& values) { return {Shape{1, static_cast<std::int64_t>(values.size())}, values}; }

/// One row resized to `width` by sizes.
Floats to_width(const Tensor& x, std::int64_t width, GraphBuilder::Attributes attributes,
                const Tensor& roi = Tensor()) {
  const Tensor sizes({2}, Sizes{1, width});
  return elements_of<float>(run_op("Resize", 19, {x, roi, Tensor(), sizes}, std::move(attributes))[0]);
}

/// One row resized by a factor.
Floats by_scale(const std::string& op, int opset, const Tensor& x, float scale,
                GraphBuilder::Attributes attributes) {
  const Tensor scales({2}, Floats{1, scale});
  std::vector<Tensor> inputs{x, scales};
  if (op == "Resize" && opset >= 11) inputs = {x, Tensor(), scales};
  return elements_of<float>(run_op(op, opset, inputs, std::move(attributes))[0]);
}

GraphBuilder::Attributes modes(const std::string& mode, const std::string& transformation,
                               const std::string& nearest = "round_prefer_floor") {
  return {{"mode", mode}, {"coordinate_transformation_mode", transformation}, {"nearest_mode", nearest}};
}

void check_close(const Floats& got, const Floats& expected) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(expected[i]));
}

}  // namespace

TEST_CASE("Resize nearest: every way to round a coordinate") {
  const Tensor x = row({1, 2, 3, 4});
  // asymmetric, 4 -> 8: coordinates 0, 0.5, 1, 1.5, ...
  CHECK(to_width(x, 8, modes("nearest", "asymmetric", "floor")) == Floats{1, 1, 2, 2, 3, 3, 4, 4});
  CHECK(to_width(x, 8, modes("nearest", "asymmetric", "ceil")) == Floats{1, 2, 2, 3, 3, 4, 4, 4});
  CHECK(to_width(x, 8, modes("nearest", "asymmetric")) == Floats{1, 1, 2, 2, 3, 3, 4, 4});
  CHECK(to_width(x, 8, modes("nearest", "asymmetric", "round_prefer_ceil")) ==
        Floats{1, 2, 2, 3, 3, 4, 4, 4});
  CHECK(to_width(x, 2, modes("nearest", "half_pixel")) == Floats{1, 3});
}

TEST_CASE("Resize linear: coordinate transformations") {
  const Tensor x = row({0, 10});
  check_close(to_width(x, 4, modes("linear", "half_pixel")), {0, 2.5F, 7.5F, 10});
  check_close(to_width(x, 4, modes("linear", "asymmetric")), {0, 5, 10, 10});
  check_close(to_width(x, 5, modes("linear", "align_corners")), {0, 2.5F, 5, 7.5F, 10});
  check_close(to_width(x, 1, modes("linear", "pytorch_half_pixel")), {0});
  check_close(to_width(x, 1, modes("linear", "half_pixel")), {5});
}

TEST_CASE("Resize tf_crop_and_resize extrapolates outside of the input") {
  GraphBuilder::Attributes attributes = modes("linear", "tf_crop_and_resize");
  attributes["extrapolation_value"] = -7.0F;
  const Tensor roi({4}, Floats{0, 0.5F, 1, 1.5F});
  check_close(to_width(row({0, 10, 20}), 3, attributes, roi), {10, 20, -7});
}

TEST_CASE("Resize cubic and antialias") {
  // Halfway between pixels Keys' cubic with a = -0.75 weighs -3/32, 19/32, 19/32, -3/32.
  const Floats cubic = by_scale("Resize", 19, row({0, 0, 32, 0, 0}), 2.0F, modes("cubic", "asymmetric"));
  CHECK(cubic[3] == doctest::Approx(19));
  CHECK(cubic[1] == doctest::Approx(-3));
  // Halving with antialias: a triangle twice as wide, 1/8 3/8 3/8 1/8.
  GraphBuilder::Attributes attributes = modes("linear", "half_pixel");
  attributes["antialias"] = std::int64_t{1};
  CHECK(to_width(row({0, 0, 0, 8, 0, 0, 0, 0}), 4, attributes)[1] == doctest::Approx(3));
}

TEST_CASE("Resize: axes and keep_aspect_ratio_policy") {
  const Tensor x({1, 1, 2, 4}, Floats{1, 2, 3, 4, 5, 6, 7, 8});
  const auto shape = [&](const std::string& policy) {
    return run_op("Resize", 18, {x, Tensor(), Tensor(), Tensor({2}, Sizes{7, 8})},
                  {{"axes", Sizes{-2, 3}}, {"keep_aspect_ratio_policy", policy}})[0]
        .shape();
  };
  CHECK(shape("stretch") == Shape{1, 1, 7, 8});
  CHECK(shape("not_larger") == Shape{1, 1, 4, 8});
  CHECK(shape("not_smaller") == Shape{1, 1, 7, 14});
}

TEST_CASE("Resize 10 and Upsample: asymmetric, and nearest rounds away only when shrinking") {
  CHECK(by_scale("Upsample", 9, row({1, 2}), 2.0F, {{"mode", std::string("nearest")}}) == Floats{1, 1, 2, 2});
  CHECK(by_scale("Resize", 10, row({1, 2, 3, 4}), 0.6F, {{"mode", std::string("nearest")}}) == Floats{1, 3});
  CHECK(by_scale("Resize", 10, row({0, 10}), 2.0F, {{"mode", std::string("linear")}}) ==
        Floats{0, 5, 10, 10});
  const auto seven = run_op("Upsample", 7, {row({1, 2})}, {{"scales", Floats{1, 3}}});
  CHECK(elements_of<float>(seven[0]) == Floats{1, 1, 1, 2, 2, 2});
}

TEST_CASE("Resize of integers rounds and keeps every bit under nearest") {
  const Tensor x({1, 2}, std::vector<std::int64_t>{(std::int64_t{1} << 60) + 1, 5});
  const Tensor sizes({2}, Sizes{1, 4});
  const auto wide =
      run_op("Resize", 19, {x, Tensor(), Tensor(), sizes}, modes("nearest", "asymmetric", "floor"));
  CHECK(elements_of<std::int64_t>(wide[0])[1] == (std::int64_t{1} << 60) + 1);
  const Tensor bytes({1, 2}, std::vector<std::uint8_t>{0, 10});
  const auto blend = run_op("Resize", 19, {bytes, Tensor(), Tensor(), sizes}, modes("linear", "half_pixel"));
  CHECK(elements_of<std::uint8_t>(blend[0]) == std::vector<std::uint8_t>{0, 2, 8, 10});
}

TEST_CASE("Resize refuses what makes no output") {
  CHECK_THROWS_AS(by_scale("Resize", 19, row({1}), 0.0F, modes("linear", "half_pixel")), Error);
  CHECK_THROWS_AS(by_scale("Resize", 19, row({1}), 1e30F, modes("linear", "half_pixel")), Error);
  CHECK_THROWS_AS(to_width(row({1}), -1, modes("linear", "half_pixel")), Error);
  CHECK_THROWS_AS(to_width(row({1}), 2, modes("linear", "no_such_mode")), Error);
  CHECK_THROWS_AS(run_op("Resize", 19, {row({1})}, modes("linear", "half_pixel")), Error);
}
