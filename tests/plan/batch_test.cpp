#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <ember/error.hpp>
#include <ember/model.hpp>
#include <ember/session.hpp>

#include "support/graph_builder.hpp"
#include "support/model_of.hpp"
#include "support/random_tensor.hpp"
#include "support/zoo.hpp"

using namespace ember;
using test::GraphBuilder;
using test::model_of;
using Attributes = GraphBuilder::Attributes;

namespace {

std::string batching(const GraphBuilder& builder, std::int64_t micro_batch = 1) {
  return Session(model_of(builder), {.micro_batch = micro_batch}).batching();
}

/// x[6, 4, 5] through one operator; `inputs` adds its other operands.
template <class Inputs>
GraphBuilder one(const std::string& op, const Attributes& attributes, const Inputs& inputs, int opset = 17) {
  GraphBuilder b(opset);
  std::vector<graph::ValueId> operands{b.input("x", DataType::Float32, {6, 4, 5})};
  inputs(b, operands);
  b.output(b.op(op, "y", operands, attributes));
  return b;
}
GraphBuilder one(const std::string& op, const Attributes& attributes = {}, int opset = 17) {
  return one(op, attributes, [](GraphBuilder&, auto&) {}, opset);
}
GraphBuilder with_integers(const std::string& op, const std::vector<std::vector<std::int64_t>>& lists,
                           const Attributes& attributes = {}) {
  return one(op, attributes, [&](GraphBuilder& b, auto& operands) {
    for (const auto& list : lists) {
      const Shape shape{static_cast<std::int64_t>(list.size())};
      operands.push_back(b.constant("", Tensor(shape, list)));
    }
  });
}

bool splits(const GraphBuilder& builder) { return batching(builder).starts_with("6 micro-batches of 1"); }

/// A network with most of what images and sequences go through.
GraphBuilder mixed() {
  GraphBuilder b;
  auto x = b.input("x", DataType::Float32, {-1, 3, 12, 12});
  const auto conv = [&](const std::string& name, graph::ValueId from, Shape w, Attributes attributes = {}) {
    const auto filters = b.constant(name + "_w", test::random_tensor(w, w.elements() % 1000));
    return b.op("Relu", name + "_relu", {b.op("Conv", name, {from, filters}, std::move(attributes))});
  };
  const Attributes padded{{"pads", std::vector<std::int64_t>{1, 1, 1, 1}}};
  const auto stem = conv("stem", x, {24, 3, 3, 3}, padded);
  auto depthwise = padded;
  depthwise["group"] = std::int64_t{24};
  const auto spread = conv("depthwise", stem, {24, 1, 3, 3}, depthwise);
  const auto sum = b.op("Add", "sum", {spread, stem});
  const auto both = b.op("Concat", "both", {sum, stem}, {{"axis", std::int64_t{1}}});
  const auto pooled =
      b.op("MaxPool", "pool", {both},
           {{"kernel_shape", std::vector<std::int64_t>{2, 2}}, {"strides", std::vector<std::int64_t>{2, 2}}});
  // [N, 48, 6, 6] -> tokens [N, 36, 48] -> attention of each sample with itself.
  const auto shape = b.op("Shape", "shape", {pooled});
  const auto n = b.op("Slice", "n",
                      {shape, b.constant("", Tensor(Shape{1}, std::vector<std::int64_t>{0})),
                       b.constant("", Tensor(Shape{1}, std::vector<std::int64_t>{1}))});
  const auto rest = b.constant("rest", Tensor(Shape{2}, std::vector<std::int64_t>{48, 36}));
  const auto flat =
      b.op("Reshape", "flat", {pooled, b.op("Concat", "target", {n, rest}, {{"axis", std::int64_t{0}}})});
  const auto keys = b.op("Transpose", "tokens", {flat}, {{"perm", std::vector<std::int64_t>{0, 2, 1}}});
  const auto scores =
      b.op("Softmax", "scores", {b.op("MatMul", "products", {keys, flat})}, {{"axis", std::int64_t{-1}}});
  const auto mixed = b.op("MatMul", "mixed", {scores, keys});
  const auto mean = b.op("ReduceMean", "mean", {mixed},
                         {{"axes", std::vector<std::int64_t>{1}}, {"keepdims", std::int64_t{0}}});
  const auto weights = b.constant("dense_w", test::random_tensor({48, 10}, 9));
  b.output(b.op("Gemm", "y", {mean, weights, b.constant("dense_b", test::random_tensor({10}, 8))}));
  return b;
}

int different(const ConstTensorView& a, const ConstTensorView& b) {
  return a.bytes() != b.bytes() || std::memcmp(a.raw(), b.raw(), a.bytes()) != 0;
}

}  // namespace

TEST_CASE("operators along other axes leave samples apart") {
  CHECK(splits(one("Relu")));
  CHECK(splits(one("Softmax", {{"axis", std::int64_t{-1}}})));
  CHECK(splits(one("Softmax", {}, 11)));
  CHECK(splits(one("ReduceMean", {{"axes", std::vector<std::int64_t>{1, -1}}})));
  CHECK(splits(one("Transpose", {{"perm", std::vector<std::int64_t>{0, 2, 1}}})));
  CHECK(splits(one("Flatten")));
  CHECK(splits(with_integers("Reshape", {{0, -1}})));
  CHECK(splits(with_integers("Reshape", {{-1, 5}})));  // four rows to a sample
  CHECK(splits(with_integers("Slice", {{1}, {3}, {1}})));
  CHECK(splits(with_integers("Slice", {{0}, {6}, {0}})));  // all of it, whatever the batch
  CHECK(splits(with_integers("Gather", {{2, 0}}, {{"axis", std::int64_t{1}}})));
  CHECK(splits(with_integers("Pad", {{0, 1, 0, 0, 0, 2}})));
  CHECK(splits(with_integers("Unsqueeze", {{1}})));
  CHECK(splits(one("Add", {}, [](GraphBuilder& b, auto& operands) {
    operands.push_back(b.constant("c", test::random_tensor({4, 1}, 1)));
  })));
  CHECK(splits(one("Concat", {{"axis", std::int64_t{2}}},
                   [](GraphBuilder&, auto& operands) { operands.push_back(operands[0]); })));
  CHECK(splits(one("MatMul", {}, [](GraphBuilder& b, auto& operands) {
    operands.push_back(b.constant("w", test::random_tensor({5, 3}, 1)));
  })));
}

TEST_CASE("operators along axis 0, or with a value for every sample, keep the batch whole and say why") {
  CHECK(batching(one("Softmax", {{"axis", std::int64_t{0}}})) ==
        "whole: y_node (Softmax): its samples are not independent along axis 0");
  CHECK_FALSE(splits(one("Softmax", {{"axis", std::int64_t{0}}}, 11)));
  CHECK_FALSE(
      splits(one("ReduceMean", {{"axes", std::vector<std::int64_t>{0, 1}}, {"keepdims", std::int64_t{1}}})));
  CHECK_FALSE(splits(one("ReduceMean")));
  CHECK_FALSE(splits(one("Transpose")));
  CHECK_FALSE(splits(one("Flatten", {{"axis", std::int64_t{0}}})));
  CHECK_FALSE(splits(with_integers("Reshape", {{8, 15}})));
  CHECK_FALSE(splits(with_integers("Slice", {{0}, {5}, {0}})));
  CHECK_FALSE(splits(with_integers("Slice", {{-1}, {-10}, {0}, {-1}})));
  CHECK_FALSE(splits(with_integers("Gather", {{5, 0, 1, 2, 3, 4}})));
  CHECK_FALSE(splits(with_integers("Pad", {{1, 0, 0, 0, 0, 0}})));
  CHECK_FALSE(splits(with_integers("CumSum", {{0}})));
  CHECK_FALSE(splits(one("Add", {}, [](GraphBuilder& b, auto& operands) {
    operands.push_back(b.constant("c", test::random_tensor({6, 1, 1}, 1)));
  })));
  CHECK_FALSE(splits(one("Concat", {{"axis", std::int64_t{0}}},
                         [](GraphBuilder&, auto& operands) { operands.push_back(operands[0]); })));
  // A square [6, 6]: the product of a batch with itself mixes its samples.
  GraphBuilder square;
  const auto x = square.input("x", DataType::Float32, {6, 6});
  square.output(square.op("MatMul", "y", {x, x}));
  CHECK_FALSE(splits(square));
  // A number computed from the size of the batch.
  GraphBuilder counted;
  const auto rows = counted.input("x", DataType::Float32, {-1, 4});
  const auto size =
      counted.op("Cast", "size", {counted.op("Size", "elements", {rows})}, {{"to", std::int64_t{1}}});
  counted.output(counted.op("Div", "y", {rows, size}));
  const Session session(model_of(counted), {.input_shapes = {{"x", Shape{6, 4}}}, .micro_batch = 1});
  CHECK(session.batching().starts_with("whole: y_node (Div)"));
}

TEST_CASE("a batch has the same bits whole, in micro-batches, sample by sample, and at any thread count") {
  const Model model = model_of(mixed());
  const std::int64_t samples = 12;
  const Tensor x = test::random_tensor({samples, 3, 12, 12}, 4);
  const auto run = [&](std::int64_t micro_batch, int threads) {
    Session session(model,
                    {.threads = threads, .input_shapes = {{"x", x.shape()}}, .micro_batch = micro_batch});
    if (micro_batch != 0 && micro_batch != samples)
      REQUIRE(session.batching().find("micro-batches of " + std::to_string(micro_batch)) !=
              std::string::npos);
    return session.run({{"x", x}}).at("y");
  };
  const Tensor whole = run(samples, 1);
  for (const std::int64_t micro_batch : {0, 1, 2, 3, 6, 12}) {
    for (const int threads : {1, 2}) {
      CAPTURE(micro_batch);
      CAPTURE(threads);
      CHECK(different(run(micro_batch, threads).view(), whole.view()) == 0);
    }
  }
  Session single(model);
  const std::size_t inputs = x.bytes() / samples, outputs = whole.bytes() / samples;
  for (std::size_t sample = 0; sample < samples; ++sample) {
    std::memcpy(single.input("x").raw(), static_cast<const std::byte*>(x.raw()) + sample * inputs, inputs);
    single.run();
    CHECK(std::memcmp(single.output("y").raw(), static_cast<const std::byte*>(whole.raw()) + sample * outputs,
                      outputs) == 0);
  }
}

TEST_CASE("a micro-batch that does not divide the batch is refused, and watched batches stay whole") {
  const Model model = model_of(mixed());
  const std::map<std::string, Shape> shapes{{"x", Shape{12, 3, 12, 12}}};
  CHECK_THROWS_WITH_AS(Session(model, {.input_shapes = shapes, .micro_batch = 5}),
                       doctest::Contains("does not divide the batch of 12"), Error);
  CHECK_THROWS_AS(Session(model, {.micro_batch = -1}), Error);
  CHECK(Session(model).batching().empty());
}

TEST_CASE("micro-batches need less memory, and the profile shows their steps") {
  const Model model = model_of(mixed());
  const std::map<std::string, Shape> shapes{{"x", Shape{12, 3, 12, 12}}};
  Session parts(model, {.input_shapes = shapes, .micro_batch = 1, .profile = true});
  Session whole(model, {.input_shapes = shapes, .micro_batch = 12});
  CHECK(parts.arena_bytes() < whole.arena_bytes() / 2);
  CHECK(parts.flops() == doctest::Approx(whole.flops()));
  parts.run();
  double time = 0;
  std::set<std::string> nodes;
  for (const ProfileEntry& entry : parts.profile()) {
    time += entry.milliseconds;
    nodes.insert(entry.node);
  }
  CHECK(time > 0);
  CHECK(nodes.contains("stem_node"));
  parts.reset_profile();
  for (const ProfileEntry& entry : parts.profile()) CHECK(entry.milliseconds == 0);
}

TEST_CASE("real networks give a sample the same bits alone and in a batch of five, whole or not") {
  const std::filesystem::path zoo = test::zoo_folder();
  if (zoo.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return;
  }
  int split = 0;
  for (const char* name :
       {"cifar10_resnet20_akamaster", "mnist_cntk_v8", "tfl_person_detect_fp32", "tfl_ad01_fp32_fp32",
        "tfl_mobilenet_v1_0.25_128_quant_fp32", "tfl_pretrainedResnet_fp32", "eran_mnist_relu_6_100",
        "squeezenet11_imagenet_fp32_from_winml_fp16", "yunet_n_320", "antispoof_john_fp32",
        "cifar10_winml_tutorial_cnn", "dave_small_neurify"}) {
    CAPTURE(name);
    const Model model = Model::load(zoo / "models" / (std::string(name) + ".onnx"));
    std::map<std::string, Shape> shapes;
    for (const ValueInfo& input : model.inputs()) {
      std::vector<std::int64_t> dims;
      for (const Dimension& dim : input.dims) dims.push_back(std::max<std::int64_t>(dim.size, 1));
      dims[0] = 5;
      shapes.emplace(input.name, Shape(dims));
    }
    std::optional<Session> parts, whole;
    try {
      parts.emplace(model, SessionOptions{.threads = 2, .input_shapes = shapes, .micro_batch = 1});
      whole.emplace(model, SessionOptions{.threads = 1, .input_shapes = shapes, .micro_batch = 5});
    } catch (const Error&) {
      continue;  // made for one sample
    }
    if (parts->batching().starts_with("5 micro")) ++split;
    for (const std::string& input : parts->input_names()) {
      const Tensor x = test::random_tensor(parts->input(input).shape(), 3);
      parts->input(input).copy_from<float>(x.data<float>());
      whole->input(input).copy_from<float>(x.data<float>());
    }
    parts->run();
    whole->run();
    for (const std::string& output : parts->output_names())
      CHECK(different(parts->output(output), whole->output(output)) == 0);
  }
  CHECK(split >= 5);
}
