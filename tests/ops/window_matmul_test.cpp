#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <ember/error.hpp>

#include "ops/registry.hpp"
#include "support/run_op.hpp"

namespace ember::test {

namespace {

using Dims = std::vector<std::int64_t>;

Tensor counting(const Shape& shape, float first = 1.0F) {
  Tensor tensor(DataType::Float32, shape);
  for (float& value : tensor.data<float>()) value = first++;
  return tensor;
}

Tensor ones(const Shape& shape) {
  Tensor tensor(DataType::Float32, shape);
  for (float& value : tensor.data<float>()) value = 1.0F;
  return tensor;
}

std::vector<float> run(const std::string& op, const std::vector<Tensor>& inputs,
                       GraphBuilder::Attributes attributes = {}, int opset = 22) {
  return elements_of<float>(run_op(op, opset, inputs, std::move(attributes)).front());
}

Shape shape_of(const std::string& op, const std::vector<Tensor>& inputs,
               GraphBuilder::Attributes attributes) {
  return run_op(op, 22, inputs, std::move(attributes)).front().shape();
}

using Floats = std::vector<float>;

}  // namespace

TEST_CASE("Conv: sums of windows, with bias and padding") {
  const Tensor x = counting(Shape{1, 1, 3, 3});
  CHECK(run("Conv", {x, ones(Shape{1, 1, 2, 2})}) == Floats{12, 16, 24, 28});
  CHECK(run("Conv", {x, ones(Shape{1, 1, 2, 2}), Tensor(Shape{1}, Floats{0.5F})}) ==
        Floats{12.5F, 16.5F, 24.5F, 28.5F});
  CHECK(run("Conv", {x, ones(Shape{1, 1, 3, 3})}, {{"pads", Dims{1, 1, 1, 1}}, {"strides", Dims{2, 2}}}) ==
        Floats{12, 16, 24, 28});
  CHECK(run("Conv", {x, counting(Shape{1, 1, 2, 2})}, {{"dilations", Dims{2, 2}}}) ==
        Floats{1 + 6 + 21 + 36});
}

TEST_CASE("Conv: odd padding goes to the end with SAME_UPPER, to the begin with SAME_LOWER") {
  const Tensor x = counting(Shape{1, 1, 4});
  const Tensor w = ones(Shape{1, 1, 2});
  CHECK(run("Conv", {x, w}, {{"auto_pad", std::string("SAME_UPPER")}}) == Floats{3, 5, 7, 4});
  CHECK(run("Conv", {x, w}, {{"auto_pad", std::string("SAME_LOWER")}}) == Floats{1, 3, 5, 7});
  CHECK(run("Conv", {x, w}, {{"auto_pad", std::string("VALID")}}) == Floats{3, 5, 7});
}

TEST_CASE("Conv: groups see only their channels") {
  const Tensor x = Tensor(Shape{1, 4, 1}, Floats{1, 10, 100, 1000});
  CHECK(run("Conv", {x, ones(Shape{2, 2, 1})}, {{"group", std::int64_t{2}}}) == Floats{11, 1100});
  CHECK(run("Conv", {x, counting(Shape{4, 1, 1})}, {{"group", std::int64_t{4}}}) == Floats{1, 20, 300, 4000});
}

TEST_CASE("ConvTranspose: scatters, with every way to state the output's size") {
  const Tensor x = Tensor(Shape{1, 1, 2}, Floats{1, 10});
  const Tensor w = Tensor(Shape{1, 1, 3}, Floats{1, 2, 3});
  CHECK(run("ConvTranspose", {x, w}) == Floats{1, 12, 23, 30});
  CHECK(run("ConvTranspose", {x, w}, {{"strides", Dims{2}}}) == Floats{1, 2, 13, 20, 30});
  CHECK(run("ConvTranspose", {x, w}, {{"strides", Dims{2}}, {"output_padding", Dims{1}}}) ==
        Floats{1, 2, 13, 20, 30, 0});
  CHECK(run("ConvTranspose", {x, w}, {{"strides", Dims{2}}, {"pads", Dims{1, 0}}}) == Floats{2, 13, 20, 30});
  CHECK(run("ConvTranspose", {x, w}, {{"strides", Dims{2}}, {"auto_pad", std::string("SAME_UPPER")}}) ==
        Floats{1, 2, 13, 20});
  CHECK(run("ConvTranspose", {x, w}, {{"strides", Dims{2}}, {"output_shape", Dims{4}}}) ==
        Floats{2, 13, 20, 30});
}

TEST_CASE("Convolutions that make no sense are refused by name") {
  const Tensor x = ones(Shape{1, 3, 4, 4});
  CHECK_THROWS_AS(run("Conv", {x, ones(Shape{2, 2, 3, 3})}), Error);
  CHECK_THROWS_AS(run("Conv", {x, ones(Shape{2, 3, 5, 5})}), Error);
  CHECK_THROWS_AS(run("Conv", {x, ones(Shape{2, 3, 3, 3})}, {{"strides", Dims{0, 1}}}), Error);
  CHECK_THROWS_AS(run("Conv", {x, ones(Shape{2, 3, 3, 3})}, {{"pads", Dims{-1, 0, 0, 0}}}), Error);
  CHECK_THROWS_AS(run("Conv", {x, ones(Shape{2, 3, 3, 3})}, {{"pads", Dims{1, 1}}}), Error);
  CHECK_THROWS_AS(run("Conv", {x, ones(Shape{2, 3, 3, 3})}, {{"dilations", Dims{1, INT64_MAX}}}), Error);
  CHECK_THROWS_AS(run("Conv", {x, ones(Shape{2, 3, 3, 3})}, {{"group", std::int64_t{0}}}), Error);
  CHECK_THROWS_AS(run("Conv", {x, ones(Shape{2, 3, 3, 3}), ones(Shape{3})}), Error);
  CHECK_THROWS_AS(run("Conv", {ones(Shape{1, 3}), ones(Shape{2, 3})}), Error);
  CHECK_THROWS_AS(run("ConvTranspose", {x, ones(Shape{3, 2, 3, 3})}, {{"pads", Dims{9, 9, 9, 9}}}), Error);
}

TEST_CASE("Pools: padding, overhang and indices") {
  const Tensor x = counting(Shape{1, 1, 5});
  CHECK(run("MaxPool", {x}, {{"kernel_shape", Dims{2}}, {"strides", Dims{2}}}) == Floats{2, 4});
  CHECK(run("MaxPool", {x},
            {{"kernel_shape", Dims{2}}, {"strides", Dims{2}}, {"ceil_mode", std::int64_t{1}}}) ==
        Floats{2, 4, 5});
  CHECK(run("MaxPool", {x}, {{"kernel_shape", Dims{2}}, {"dilations", Dims{3}}}) == Floats{4, 5});
  const GraphBuilder::Attributes padded = {
      {"kernel_shape", Dims{3}}, {"strides", Dims{2}}, {"pads", Dims{1, 1}}};
  CHECK(run("AveragePool", {x}, padded) == Floats{1.5F, 3, 4.5F});
  GraphBuilder::Attributes counted = padded;
  counted["count_include_pad"] = std::int64_t{1};
  CHECK(run("AveragePool", {x}, counted) == Floats{1, 3, 3});
  CHECK(run("LpPool", {x}, {{"kernel_shape", Dims{2}}, {"strides", Dims{3}}, {"p", std::int64_t{1}}}) ==
        Floats{3, 9});
  // A last window that would start in the padding is left out.
  CHECK(shape_of("MaxPool", {ones(Shape{1, 1, 4})},
                 {{"kernel_shape", Dims{1}},
                  {"strides", Dims{3}},
                  {"pads", Dims{0, 0}},
                  {"ceil_mode", std::int64_t{1}}}) == Shape{1, 1, 2});
  const std::vector<Tensor> both =
      run_op("MaxPool", 12, {counting(Shape{1, 1, 2, 3})},
             {{"kernel_shape", Dims{2, 2}}, {"storage_order", std::int64_t{1}}}, 2);
  CHECK(elements_of<float>(both[0]) == Floats{5, 6});
  CHECK(elements_of<std::int64_t>(both[1]) == Dims{3, 5});
}

TEST_CASE("Global pools fold every position") {
  const Tensor x = counting(Shape{1, 2, 2, 2});
  CHECK(run("GlobalAveragePool", {x}) == Floats{2.5F, 6.5F});
  CHECK(run("GlobalMaxPool", {x}) == Floats{4, 8});
  CHECK(run("GlobalLpPool", {x}, {{"p", std::int64_t{1}}}) == Floats{10, 26});
}

TEST_CASE("MatMul: vectors, stacks and integers") {
  const Tensor a = counting(Shape{2, 3});
  CHECK(run("MatMul", {a, ones(Shape{3})}) == Floats{6, 15});
  CHECK(run("MatMul", {ones(Shape{2}), a}) == Floats{5, 7, 9});
  CHECK(shape_of("MatMul", {ones(Shape{3}), ones(Shape{3})}, {}) == Shape{});
  CHECK(shape_of("MatMul", {ones(Shape{5, 1, 2, 3}), ones(Shape{4, 3, 7})}, {}) == Shape{5, 4, 2, 7});
  const std::vector<std::int32_t> whole = {1, 2, 3, 4};
  const std::vector<Tensor> y =
      run_op("MatMul", 13, {tensor_of(Shape{2, 2}, whole), tensor_of(Shape{2, 2}, whole)});
  CHECK(elements_of<std::int32_t>(y[0]) == std::vector<std::int32_t>{7, 10, 15, 22});
  CHECK_THROWS_AS(run("MatMul", {a, ones(Shape{2})}), Error);
  CHECK_THROWS_AS(run("MatMul", {a, Tensor::scalar(1.0F)}), Error);
}

TEST_CASE("Gemm: transposes, factors and a broadcast addend") {
  const Tensor a = counting(Shape{3, 2});
  const Tensor b = counting(Shape{1, 3});
  const GraphBuilder::Attributes attributes = {
      {"transA", std::int64_t{1}}, {"transB", std::int64_t{1}}, {"alpha", 2.0F}, {"beta", 0.5F}};
  CHECK(run("Gemm", {a, b}, attributes) == Floats{44, 56});
  CHECK(run("Gemm", {a, b, Tensor(Shape{2, 1}, Floats{2, 4})}, attributes) == Floats{45, 58});
  CHECK_THROWS_AS(run("Gemm", {a, b, ones(Shape{3})}, attributes), Error);
  CHECK_THROWS_AS(run("Gemm", {a, ones(Shape{3, 3})}), Error);
}

}  // namespace ember::test
