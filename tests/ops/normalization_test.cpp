#include <cmath>
#include <cstdint>

#include <doctest/doctest.h>

#include <ember/error.hpp>

#include "support/random_tensor.hpp"
#include "support/run_op.hpp"

using namespace ember;
using namespace ember::test;

namespace {

using Floats = std::vector<float>;

void check_close(const Tensor& got, const Floats& want) {
  CHECK(mismatch(got.view(), tensor_of<float>(got.shape(), want).view(), 1e-6, 1e-6) <= 1.0);
}

Tensor vector_of(const Floats& values) {
  return tensor_of<float>({static_cast<std::int64_t>(values.size())}, values);
}

}  // namespace

TEST_CASE("Softmax flattens before opset 13 and takes one axis since") {
  const float e = std::exp(1.0F);
  const Tensor x = tensor_of<float>({1, 2, 2}, {0, 1, 1, 0});
  const float all = 2 + 2 * e;
  check_close(run_op("Softmax", 11, {x})[0], {1 / all, e / all, e / all, 1 / all});
  check_close(run_op("Softmax", 13, {x})[0], {1 / (1 + e), e / (1 + e), e / (1 + e), 1 / (1 + e)});
  check_close(run_op("Softmax", 13, {x}, {{"axis", std::int64_t{0}}})[0], {1, 1, 1, 1});
  check_close(run_op("LogSoftmax", 13, {vector_of({1000, 1000})}, {{"axis", std::int64_t{0}}})[0],
              {-0.69314718F, -0.69314718F});
  check_close(run_op("Hardmax", 13, {tensor_of<float>({2, 3}, {1, 3, 3, 2, 0, 1})})[0], {0, 1, 0, 1, 0, 0});
  CHECK(run_op("Softmax", 13, {Tensor(DataType::Float32, Shape{0, 3})})[0].elements() == 0);
  CHECK_THROWS_AS(run_op("Softmax", 13, {x}, {{"axis", std::int64_t{3}}}), Error);
}

TEST_CASE("BatchNormalization is inference only") {
  const Tensor x = tensor_of<float>({1, 2, 2}, {1, 2, 3, 4});
  const std::vector<Tensor> inputs = {x, vector_of({2, 1}), vector_of({1, 0}), vector_of({1, 3}),
                                      vector_of({4, 1})};
  const GraphBuilder::Attributes attributes = {{"epsilon", 0.0F}};
  for (const int opset : {7, 9, 14, 15})
    check_close(run_op("BatchNormalization", opset, inputs, attributes)[0], {1, 2, 0, 1});
  GraphBuilder builder(15);
  std::vector<graph::ValueId> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(builder.input("i" + std::to_string(i), DataType::Float32, {1}));
  builder.output(builder.op("BatchNormalization", "y", ids, {{"training_mode", std::int64_t{1}}}));
  CHECK(ops::unsupported(builder.graph()).size() == 1);
  CHECK_THROWS_WITH_AS(
      run_op("BatchNormalization", 9, {x, vector_of({1}), vector_of({1}), vector_of({1}), vector_of({1})}),
      doctest::Contains("one number per channel"), Error);
}

TEST_CASE("InstanceNormalization and GroupNormalization") {
  const GraphBuilder::Attributes exact = {{"epsilon", 0.0F}};
  const Tensor x = tensor_of<float>({1, 2, 2}, {1, 3, 10, 30});
  check_close(run_op("InstanceNormalization", 6, {x, vector_of({1, 2}), vector_of({0, 5})}, exact)[0],
              {-1, 1, 3, 7});
  const Tensor two = tensor_of<float>({1, 2, 1}, {1, 3});
  GraphBuilder::Attributes grouped = {{"epsilon", 0.0F}, {"num_groups", std::int64_t{1}}};
  check_close(run_op("GroupNormalization", 18, {two, vector_of({2}), vector_of({1})}, grouped)[0], {-1, 3});
  check_close(run_op("GroupNormalization", 21, {two, vector_of({2, 4}), vector_of({1, 0})}, grouped)[0],
              {-1, 4});
  grouped["num_groups"] = std::int64_t{3};
  CHECK_THROWS_AS(run_op("GroupNormalization", 21, {two, vector_of({2, 4}), vector_of({1, 0})}, grouped),
                  Error);
}

TEST_CASE("LayerNormalization gives the statistics too") {
  const Tensor x = tensor_of<float>({2, 2}, {1, 3, -2, 2});
  const auto out =
      run_op("LayerNormalization", 17, {x, vector_of({1, 10}), vector_of({0, 1})}, {{"epsilon", 0.0F}}, 3);
  check_close(out[0], {-1, 11, -1, 11});
  CHECK(out[1].shape() == Shape{2, 1});
  check_close(out[1], {2, 0});
  check_close(out[2], {1, 0.5F});
  const auto whole = run_op("LayerNormalization", 17, {x, Tensor::scalar(1.0F)},
                            {{"epsilon", 0.0F}, {"axis", std::int64_t{0}}}, 3);
  CHECK(whole[1].shape() == Shape{1, 1});
  check_close(whole[1], {1});
}

TEST_CASE("RMSNormalization, LpNormalization, LRN, MeanVarianceNormalization") {
  const Tensor x = tensor_of<float>({1, 2}, {3, 4});
  const float rms = std::sqrt(12.5F);
  check_close(run_op("RMSNormalization", 23, {x, vector_of({1, 2})}, {{"epsilon", 0.0F}})[0],
              {3 / rms, 8 / rms});
  const Tensor halves(Shape{1, 2}, std::vector<Half>{Half(3), Half(4)});
  CHECK(run_op("RMSNormalization", 23, {halves, vector_of({1, 2})})[0].type() == DataType::Float32);
  check_close(run_op("LpNormalization", 22, {x})[0], {0.6F, 0.8F});
  check_close(run_op("LpNormalization", 1, {x}, {{"p", std::int64_t{1}}})[0], {3.0F / 7, 4.0F / 7});
  check_close(run_op("LpNormalization", 22, {vector_of({0, 0})})[0], {0, 0});

  const Tensor channels = tensor_of<float>({1, 4, 1}, {1, 2, 3, 4});
  const GraphBuilder::Attributes lrn = {
      {"size", std::int64_t{2}}, {"alpha", 2.0F}, {"beta", 1.0F}, {"bias", 0.0F}};
  // A window of two is the channel itself and the next one.
  check_close(run_op("LRN", 13, {channels}, lrn)[0], {1.0F / 5, 2.0F / 13, 3.0F / 25, 4.0F / 16});
  CHECK_THROWS_AS(run_op("LRN", 13, {channels}), Error);

  const Tensor image = tensor_of<float>({2, 1, 1, 2}, {1, 3, 5, 7});
  const float deviation = std::sqrt(5.0F);
  check_close(run_op("MeanVarianceNormalization", 13, {image})[0],
              {-3 / deviation, -1 / deviation, 1 / deviation, 3 / deviation});
}
