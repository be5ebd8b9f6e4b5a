// SessionOptions::release_weights.

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ember/error.hpp>
#include <ember/session.hpp>

#include "support/conditional.hpp"
#include "support/graph_builder.hpp"
#include "support/model_of.hpp"
#include "support/random_network.hpp"
#include "support/random_tensor.hpp"
#include "support/spoiled_weights.hpp"

using namespace ember;
using test::GraphBuilder;
using test::SpoiledWeights;

namespace {

using Ints = std::vector<std::int64_t>;

/// Convolutions whose normalisation folds, and a dense layer behind.
GraphBuilder folded() {
  GraphBuilder b;
  auto x = b.input("x", DataType::Float32, {-1, 3, 12, 12});
  std::int64_t channels = 3;
  for (const std::int64_t wide : {16, 32, 32}) {
    const std::string name = "c" + std::to_string(b.graph().value_count());
    const auto w = b.constant(name + "_w", test::random_tensor({wide, channels, 3, 3}, 1, -0.2F, 0.2F));
    x = b.op("Conv", name, {x, w}, {{"pads", Ints{1, 1, 1, 1}}});
    std::vector<graph::ValueId> parameters = {x};
    for (const char* part : {"scale", "shift", "mean", "variance"})
      parameters.push_back(b.constant(name + part, test::random_tensor({wide}, 2, 0.5F, 1.5F)));
    x = b.op("BatchNormalization", name + "_n", parameters);
    x = b.op("Relu", name + "_r", {x});
    channels = wide;
  }
  x = b.op("Flatten", "flat", {x});
  b.output(b.op("MatMul", "y", {x, b.constant("w", test::random_tensor({32 * 144, 10}, 3))}));
  return b;
}

/// y = condition ? w + x : w · x, where both branches read a constant of the outer graph.
GraphBuilder conditional() {
  const auto branch = [](const char* op) {
    auto graph = std::make_shared<graph::Graph>();
    graph->captured = {graph->add_value("inner_x", DataType::Float32),
                       graph->add_value("inner_w", DataType::Float32)};
    return test::branch_of(graph, op, graph->captured);
  };
  GraphBuilder b;
  const auto condition = b.input("condition", DataType::Bool, {});
  const auto x = b.input("x", DataType::Float32, {40});
  const auto w = b.constant("w", test::random_tensor({40}, 1));
  test::add_choice(b, condition, branch("Add"), branch("Mul"), {x, w});
  return b;
}

/// A reshape to a shape that comes with the data, and a sum with a constant behind it.
GraphBuilder dynamic() {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {6});
  const auto shape = b.input("shape", DataType::Int64, {2});
  const auto reshaped = b.op("Reshape", "reshaped", {x, shape});
  b.output(b.op("Add", "y", {reshaped, b.constant("w", test::random_tensor({1, 1}, 1))}));
  return b;
}

TensorMap image(std::int64_t batch, std::int64_t size) {
  TensorMap inputs;
  inputs.emplace("x", test::random_tensor({batch, 3, size, size}, 5));
  return inputs;
}

/// Runs a network with its weights released, and checks that this changes no bit.
void check_released(const GraphBuilder& network, const TensorMap& inputs,
                    const SessionOptions& options = {}) {
  const TensorMap expected = Session(test::model_of(network), options).run(inputs);
  SpoiledWeights released;
  SessionOptions releasing = options;
  releasing.release_weights = true;
  for (const auto& [name, tensor] : inputs) releasing.input_shapes.emplace(name, tensor.shape());
  Session session(released.model_of(network.graph()), releasing);
  CHECK(test::same_bits(session.run(inputs), expected));
  CHECK(test::same_bits(session.run(inputs), expected));
}

class Watcher final : public Observer {
 public:
  bool wants(const std::string& value, const std::string&, const std::string&) override {
    return !value.empty();
  }
  void observe(const std::string& value, const ConstTensorView& tensor) override {
    seen.insert_or_assign(value, Tensor(tensor));
  }
  TensorMap seen;
};

}  // namespace

TEST_CASE("released weights change no bit of the results") {
  for (const int threads : {1, 2}) {
    check_released(folded(), image(1, 12), {.threads = threads});
    check_released(folded(), image(6, 12), {.threads = threads, .micro_batch = 2});
    for (std::uint64_t seed = 1; seed <= 40; ++seed)
      check_released(test::RandomNetwork(seed).images(8), image(2, 6), {.threads = threads});
  }
  check_released(folded(), image(1, 12), {.reference_only = {"*"}});
  check_released(folded(), image(1, 12), {.reference_only = {"Conv"}});
  for (const bool taken : {true, false}) {
    TensorMap inputs;
    inputs.emplace("condition", Tensor::scalar(taken));
    inputs.emplace("x", test::random_tensor({40}, 2));
    check_released(conditional(), inputs);
  }
  TensorMap inputs;
  inputs.emplace("x", test::random_tensor({6}, 2));
  inputs.emplace("shape", Tensor({2}, std::vector<std::int64_t>{3, 2}));
  check_released(dynamic(), inputs);
}

TEST_CASE("weights that kernels have packed are freed, and so are those that passes replaced") {
  SpoiledWeights weights;
  Session session(weights.model_of(folded().graph()), {.release_weights = true});
  CHECK(weights.freed() == weights.bytes());

  // What somebody else holds stays.
  SpoiledWeights kept;
  const Model model = kept.model_of(folded().graph());
  Session(model, {.release_weights = true}).run(image(1, 12));
  CHECK(kept.freed() == 0);
  CHECK(Session(model).run(image(2, 12)).at("y").shape() == Shape{2, 10});
}

TEST_CASE("a session that has released its weights refuses other shapes") {
  SpoiledWeights weights;
  Session session(weights.model_of(folded().graph()), {.release_weights = true});
  const TensorMap expected = session.run(image(1, 12));
  try {
    session.run(image(2, 12));
    FAIL("ran other shapes");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::InvalidArgument);
    CHECK(std::string(error.what()).find("release_weights") != std::string::npos);
  }
  CHECK_THROWS_AS(session.reshape({{"x", Shape{3, 3, 12, 12}}}), Error);
  session.reshape({{"x", Shape{1, 3, 12, 12}}});
  CHECK(test::same_bits(session.run(image(1, 12)), expected));
}

TEST_CASE("weights stay until the shapes are known") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {-1, 3, -1, -1});
  const auto w = b.constant("w", test::random_tensor({16, 3, 3, 3}, 1));
  b.output(b.op("Conv", "y", {x, w}));
  SpoiledWeights weights;
  Session session(weights.model_of(b.graph()), {.release_weights = true});
  CHECK(weights.freed() == 0);
  CHECK_THROWS_AS(session.run(image(1, 2)), Error);  // smaller than the window
  CHECK(weights.freed() == 0);
  const TensorMap outputs = session.run(image(1, 9));
  CHECK(weights.freed() == weights.bytes());
  CHECK(test::same_bits(outputs, Session(test::model_of(b)).run(image(1, 9))));
}

TEST_CASE("an observer sees what it would of a session that keeps its weights") {
  Watcher keeping, releasing;
  Session(test::model_of(folded()), {.observers = {&keeping}}).run(image(1, 12));
  SpoiledWeights weights;
  Session(weights.model_of(folded().graph()), {.observers = {&releasing}, .release_weights = true})
      .run(image(1, 12));
  CHECK(keeping.seen.size() > 5);
  CHECK(test::same_bits(keeping.seen, releasing.seen));
}
