#include <ember/session.hpp>

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <oneapi/tbb/task_arena.h>

#include <ember/tbb.hpp>

#include "ops/interpreter.hpp"
#include "runtime/session_impl.hpp"
#include "support/conditional.hpp"
#include "support/graph_builder.hpp"
#include "support/model_of.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using test::GraphBuilder;
using test::model_of;

namespace {

/// A dense layer with a Relu between two others.
GraphBuilder perceptron() {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {-1, 20});
  const auto w1 = b.constant("w1", test::random_tensor({20, 33}, 1));
  const auto b1 = b.constant("b1", test::random_tensor({33}, 2));
  const auto w2 = b.constant("w2", test::random_tensor({33, 5}, 3));
  const auto hidden = b.op("Gemm", "pre", {x, w1, b1});
  const auto active = b.op("Relu", "hidden", {hidden});
  b.output(b.op("MatMul", "y", {active, w2}));
  return b;
}

/// y = condition ? x + 1 : x * x, chosen at run time.
GraphBuilder conditional() {
  const auto with_x = [] {
    auto graph = std::make_shared<graph::Graph>();
    graph->captured = {graph->add_value("x", DataType::Float32)};
    return graph;
  };
  const auto add = with_x();
  const auto one = add->add_constant("one", Tensor::scalar(1.0F));
  const auto square = with_x();
  GraphBuilder b;
  const auto condition = b.input("condition", DataType::Bool, {});
  const auto x = b.input("x", DataType::Float32, {3});
  test::add_choice(b, condition, test::branch_of(add, "Add", {add->captured[0], one}),
                   test::branch_of(square, "Mul", {square->captured[0], square->captured[0]}), {x});
  return b;
}

class Recorder final : public Observer {
 public:
  explicit Recorder(std::string value) : value_(std::move(value)) {}
  bool wants(const std::string& value, const std::string& node, const std::string& op) override {
    asked.push_back(node + ":" + op);
    return value == value_;
  }
  void observe(const std::string& value, const ConstTensorView& tensor) override {
    seen.emplace_back(value, Tensor(tensor));
  }
  std::vector<std::string> asked;
  std::vector<std::pair<std::string, Tensor>> seen;

 private:
  std::string value_;
};

}  // namespace

TEST_CASE("a session computes what the references compute, at several batch sizes, with shared weights") {
  const GraphBuilder b = perceptron();
  const Model model = model_of(b);
  Session session(model);
  for (const std::int64_t batch : {1, 3, 1, 8}) {
    const Tensor x = test::random_tensor({batch, 20}, 10 + static_cast<std::uint64_t>(batch));
    const TensorMap outputs = session.run({{"x", x}});
    const auto expected = ops::interpret(b.graph(), {{"x", x}});
    CHECK(test::mismatch(outputs.at("y").view(), expected[0].view(), 1e-5, 1e-5) <= 1.0);
  }
}

TEST_CASE("the same bits at one and two threads, in an own arena and in a borrowed one") {
  const Model model = model_of(perceptron());
  const Tensor x = test::random_tensor({16, 20}, 5);
  const Tensor one = Session(model, {.threads = 1}).run({{"x", x}}).at("y");
  const Tensor two = Session(model, {.threads = 2}).run({{"x", x}}).at("y");
  tbb::task_arena arena(2);
  Session borrowed(model, {.arena = use_arena(arena)});
  const Tensor third = borrowed.run({{"x", x}}).at("y");
  CHECK(std::memcmp(one.raw(), two.raw(), one.bytes()) == 0);
  CHECK(std::memcmp(one.raw(), third.raw(), one.bytes()) == 0);
  CHECK(borrowed.threads() == 2);
}

TEST_CASE("inputs keep their content between runs, and outputs can be read without copies") {
  const Model model = model_of(perceptron());
  Session session(model, {.input_shapes = {{"x", Shape{2, 20}}}});
  const Tensor x = test::random_tensor({2, 20}, 6);
  session.input("x").copy_from<float>(x.data<float>());
  session.run();
  const Tensor first(session.output("y"));
  session.run();
  CHECK(std::memcmp(first.raw(), session.output("y").raw(), first.bytes()) == 0);
}

TEST_CASE("what does not fit is refused by name") {
  const Model model = model_of(perceptron());
  Session session(model);
  const Tensor x = test::random_tensor({1, 20}, 6);
  CHECK_THROWS_WITH_AS(session.run({}), doctest::Contains("'x'"), Error);
  CHECK_THROWS_WITH_AS(session.run({{"x", x}, {"z", x}}), doctest::Contains("it has: x"), Error);
  CHECK_THROWS_WITH_AS(session.run({{"x", test::random_tensor({1, 21}, 1)}}), doctest::Contains("[N, 20]"),
                       Error);
  CHECK_THROWS_WITH_AS(session.run({{"x", Tensor(DataType::Float64, {1, 20})}}), doctest::Contains("float64"),
                       Error);
  CHECK_THROWS_AS((void)session.output("nothing"), Error);
  CHECK_THROWS_AS(Session(model, {.threads = -1}), Error);
}

TEST_CASE("a condition known only at run time chooses its branch") {
  const GraphBuilder b = conditional();
  Session session(model_of(b));
  const Tensor x(Shape{3}, std::vector<float>{2, 3, 4});
  for (const bool condition : {true, false, true}) {
    const auto y = session.run({{"condition", Tensor::scalar(condition)}, {"x", x}}).at("y");
    const std::vector<float> expected =
        condition ? std::vector<float>{3, 4, 5} : std::vector<float>{4, 9, 16};
    CHECK(std::vector<float>(y.data<float>().begin(), y.data<float>().end()) == expected);
  }
}

TEST_CASE("a shape that arrives with the data is obeyed, and its steps are marked in the profile") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {6});
  const auto target = b.input("target", DataType::Int64, {2});
  const auto reshaped = b.op("Reshape", "reshaped", {x, target});
  b.output(b.op("Relu", "y", {reshaped}));
  Session session(model_of(b), {.profile = true});
  const Tensor values(Shape{6}, std::vector<float>{-1, 2, -3, 4, -5, 6});
  for (const auto& shape : {std::vector<std::int64_t>{2, 3}, std::vector<std::int64_t>{6, 1}}) {
    const Tensor y = session.run({{"x", values}, {"target", Tensor(Shape{2}, shape)}}).at("y");
    CHECK(y.shape() == Shape(shape));
    CHECK(y.data<float>()[0] == 0.0F);
    CHECK(y.data<float>()[5] == 6.0F);
  }
  for (const ProfileEntry& entry : session.profile()) {
    CHECK(entry.implementation == "reference");
    CHECK_FALSE(entry.refusals.empty());
    CHECK(entry.runs == 2);
  }
}

TEST_CASE("an observer sees a value that fusion would have hidden") {
  const GraphBuilder b = perceptron();
  Recorder recorder("pre");
  Session session(model_of(b), {.observers = {&recorder}});
  const Tensor x = test::random_tensor({1, 20}, 7);
  session.run({{"x", x}});
  REQUIRE(recorder.seen.size() == 1);
  CHECK(recorder.asked.size() == 3);
  const Tensor& seen = recorder.seen[0].second;
  graph::Graph exposed = b.graph();
  exposed.outputs = {exposed.find_value("pre")};
  CHECK(test::mismatch(seen.view(), ops::interpret(exposed, {{"x", x}})[0].view(), 1e-5, 1e-5) <= 1.0);
}

TEST_CASE("an observer sees a value that a portable pass absorbs") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {1, 2, 4, 4});
  const auto conv = b.op("Conv", "conv", {x, b.constant("w", test::random_tensor({2, 2, 1, 1}, 1))});
  const auto c = [&](const char* name, float v) {
    return b.constant(name, Tensor(Shape{2}, std::vector<float>{v, v}));
  };
  b.output(
      b.op("BatchNormalization", "y", {conv, c("scale", 2), c("bias", 1), c("mean", 0), c("variance", 4)}));
  Recorder recorder("conv");
  Session session(model_of(b), {.observers = {&recorder}});
  session.run({{"x", test::random_tensor({1, 2, 4, 4}, 2)}});
  CHECK(recorder.seen.size() == 1);
}

TEST_CASE("half-precision networks are computed in float32 and answer in halves") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float16, {1, 4});
  Tensor weights(DataType::Float16, {4, 2});
  for (Half& h : weights.data<Half>()) h = Half(0.5F);
  const auto y = b.op("MatMul", "product", {x, b.constant("w", std::move(weights))});
  b.output(b.op("Relu", "y", {y}));
  Session session(model_of(b));
  Tensor input(DataType::Float16, {1, 4});
  for (Half& h : input.data<Half>()) h = Half(3.0F);
  const Tensor output = session.run({{"x", input}}).at("y");
  REQUIRE(output.type() == DataType::Float16);
  CHECK(static_cast<float>(output.data<Half>()[1]) == 6.0F);
  for (const ProfileEntry& entry : session.profile())
    CHECK_MESSAGE(entry.implementation != "reference", entry.op);
}
