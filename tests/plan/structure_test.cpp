// What a plan does to the structure of a network: channels that move, groups, concatenation in place,
// convolutions in chains. Every case is run on every instruction set and compared with the references.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ops/interpreter.hpp"
#include "plan/plan.hpp"
#include "plan/strided_view.hpp"
#include "runtime/execution.hpp"
#include "support/compiled.hpp"
#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using test::GraphBuilder;

namespace {

using Ints = std::vector<std::int64_t>;

/// Several workers played by one thread, tasks last to first.
class PlayedWorkers final : public Parallel {
 public:
  explicit PlayedWorkers(int threads) : threads_(threads) {}
  [[nodiscard]] int threads() const noexcept override { return threads_; }

 protected:
  void dispatch(std::int64_t tasks, std::int64_t /*work*/, TaskFunction function, void* context) override {
    for (std::int64_t task = tasks - 1; task >= 0; --task)
      function(context, task, static_cast<int>(task % threads_));
  }

 private:
  int threads_;
};

std::shared_ptr<const plan::Plan> compile(const graph::Graph& graph, simd::Isa isa) {
  plan::PlanOptions options;
  options.isa = isa;
  options.input_shapes = plan::resolve_input_shapes(graph, {});
  return test::compiled(graph, options);
}

std::map<std::string, Tensor> random_inputs(const graph::Graph& graph) {
  std::map<std::string, Tensor> inputs;
  for (const auto& [name, shape] : plan::resolve_input_shapes(graph, {}))
    inputs.emplace(name, test::random_tensor(shape, inputs.size() + 1));
  return inputs;
}

std::vector<Tensor> run(const std::shared_ptr<const plan::Plan>& plan,
                        const std::map<std::string, Tensor>& inputs, int threads) {
  PlayedWorkers parallel(threads);
  runtime::Execution execution(plan, threads);
  std::vector<Tensor> outputs;
  for (int again = 0; again < 2; ++again) {  // the second run meets what the first left behind
    for (std::size_t i = 0; i < plan->inputs.size(); ++i) {
      const auto& name = plan->slots[static_cast<std::size_t>(plan->inputs[i])].name;
      const TensorView to = execution.input(i);
      std::ranges::copy(inputs.at(name).data<float>(), to.data<float>().begin());
    }
    execution.run(parallel, {}, nullptr);
    outputs.clear();
    for (std::size_t i = 0; i < plan->outputs.size(); ++i) outputs.emplace_back(execution.output(i));
  }
  return outputs;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.data<float>(), b.data<float>());
}

/// Runs on every instruction set, at one and three threads; returns the widest one's plan.
std::shared_ptr<const plan::Plan> check(const graph::Graph& graph) {
  const auto inputs = random_inputs(graph);
  const std::vector<Tensor> expected = ops::interpret(graph, inputs);
  std::shared_ptr<const plan::Plan> plan;
  for (const simd::Isa isa : simd::available_isas()) {
    CAPTURE(std::string(simd::to_string(isa)));
    plan = compile(graph, isa);
    const std::vector<Tensor> serial = run(plan, inputs, 1);
    const std::vector<Tensor> parallel = run(plan, inputs, 3);
    REQUIRE(serial.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CHECK(test::mismatch(serial[i].view(), expected[i].view(), 2e-5, 2e-5) <= 1.0);
      CHECK(same_bits(serial[i], parallel[i]));
    }
  }
  return plan;
}

int count(const plan::Plan& plan, const std::string& implementation) {
  return static_cast<int>(std::ranges::count(plan.steps, implementation, &plan::PlannedStep::implementation));
}

Tensor integers(const Ints& values) { return {Shape{static_cast<std::int64_t>(values.size())}, values}; }

graph::ValueId conv(GraphBuilder& b, const std::string& name, graph::ValueId x, const Shape& filters,
                    GraphBuilder::Attributes attributes = {}) {
  const auto seed = static_cast<std::uint64_t>(name.size() + static_cast<std::size_t>(filters[0]));
  const auto w = b.constant(name + "_w", test::random_tensor(filters, seed, -0.3F, 0.3F));
  const auto bias = b.constant(name + "_b", test::random_tensor(Shape{filters[0]}, seed + 1));
  return b.op("Conv", name, {x, w, bias}, std::move(attributes));
}

/// Reshape, Transpose, Reshape: channels c = i * (channels / groups) + j to j * groups + i.
graph::ValueId shuffle(GraphBuilder& b, const std::string& name, graph::ValueId x, const Shape& shape,
                       std::int64_t groups) {
  const auto split =
      b.constant(name + "_split", integers({shape[0], groups, shape[1] / groups, shape[2], shape[3]}));
  const auto joined = b.constant(name + "_joined", integers({shape[0], shape[1], shape[2], shape[3]}));
  const auto apart = b.op("Reshape", name + "_apart", {x, split});
  const auto turned = b.op("Transpose", name + "_turned", {apart}, {{"perm", Ints{0, 2, 1, 3, 4}}});
  return b.op("Reshape", name, {turned, joined});
}

}  // namespace

TEST_CASE("strided views: reshapes that split and join axes, and those that cannot") {
  plan::StridedView view(Shape{2, 6, 4});
  CHECK(view.distances(1) == Ints{0, 4, 8, 12, 16, 20});
  REQUIRE(view.reshape(Shape{2, 2, 3, 4}));
  const std::vector<int> perm = {0, 2, 1, 3};
  REQUIRE(view.transpose(perm));
  REQUIRE(view.reshape(Shape{2, 6, 4}));
  CHECK(view.distances(1) == Ints{0, 12, 4, 16, 8, 20});
  CHECK(view.distances(0) == Ints{0, 24});
  REQUIRE(view.reshape(Shape{2, 3, 2, 4}));
  REQUIRE(view.pick(2, 1));
  CHECK(view.start() == 12);
  CHECK(view.distances(1) == Ints{0, 4, 8});
  plan::StridedView uneven(Shape{4, 9});
  CHECK_FALSE(uneven.reshape(Shape{6, 6}));
  plan::StridedView more(Shape{4});
  CHECK_FALSE(more.reshape(Shape{4, 2}));
}

TEST_CASE("a channel shuffle stays blocked, and goes into the filters in front of it") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2, 20, 5, 7});
  const auto first = b.op("Relu", "first", {conv(b, "before", x, {24, 20, 1, 1})});
  const auto shuffled = shuffle(b, "shuffled", first, {2, 24, 5, 7}, 2);
  b.output(conv(b, "y", shuffled, {8, 24, 1, 1}));
  const auto plan = check(b.graph());
  CHECK(count(*plan, "channel_gather") == 1);
  CHECK(count(*plan, "strided_transpose") == 0);

  GraphBuilder direct;
  const auto x2 = direct.input("x", DataType::Float32, {2, 16, 5, 7});
  const auto grouped = conv(direct, "grouped", x2, {24, 8, 1, 1}, {{"group", std::int64_t{2}}});
  const auto turned = shuffle(direct, "turned", grouped, {2, 24, 5, 7}, 2);
  direct.output(direct.op("Relu", "y", {turned}));
  const auto folded = check(direct.graph());
  CHECK(count(*folded, "channel_gather") == 0);
  CHECK(count(*folded, "conv_plain") == 0);
  CHECK(count(*folded, "conv_direct") == 1);
}

TEST_CASE("halves of a shuffle, as exporters write them: a transpose of three axes and picks") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {1, 16, 4, 6});
  const auto left =
      b.op("Relu", "left", {conv(b, "conv_left", x, {12, 16, 3, 3}, {{"pads", Ints{1, 1, 1, 1}}})});
  const auto right = b.op("Relu", "right", {conv(b, "conv_right", x, {12, 16, 1, 1})});
  const auto all = b.op("Concat", "all", {left, right}, {{"axis", std::int64_t{1}}});
  const auto rows = b.op("Reshape", "rows", {all, b.constant("to_rows", integers({12, 2, 24}))});
  const auto turned = b.op("Transpose", "turned", {rows}, {{"perm", Ints{1, 0, 2}}});
  const auto halves =
      b.op("Reshape", "halves", {turned, b.constant("to_halves", integers({2, 1, 12, 4, 6}))});
  const auto pick = [&](const std::string& name, std::int64_t index) {
    const auto at = b.constant(name + "_index", Tensor::scalar(index));
    return b.op("Gather", name, {halves, at}, {{"axis", std::int64_t{0}}});
  };
  b.output(conv(b, "y", pick("even", 0), {8, 12, 1, 1}));
  b.output(conv(b, "z", pick("odd", 1), {8, 12, 1, 1}));
  const auto plan = check(b.graph());
  CHECK(count(*plan, "channel_gather") == 2);
  CHECK(count(*plan, "channel_concat") == 1);
  CHECK(count(*plan, "strided_transpose") == 0);
}

TEST_CASE("a transpose of more than channels is none of this, and what is read elsewhere stays") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {1, 16, 4, 4});
  const auto first = conv(b, "first", x, {16, 16, 1, 1});
  const auto flat = b.op("Reshape", "flat", {first, b.constant("to_flat", integers({1, 16, 16}))});
  const auto turned = b.op("Transpose", "turned", {flat}, {{"perm", Ints{0, 2, 1}}});
  b.output(b.op("Reshape", "y", {turned, b.constant("to_image", integers({1, 16, 4, 4}))}));
  CHECK(count(*check(b.graph()), "channel_gather") == 0);

  GraphBuilder seen;
  const auto x2 = seen.input("x", DataType::Float32, {1, 16, 4, 4});
  const auto before = conv(seen, "before", x2, {24, 16, 1, 1});
  seen.output(before);
  seen.output(conv(seen, "y", shuffle(seen, "shuffled", before, {1, 24, 4, 4}, 3), {8, 24, 1, 1}));
  CHECK(count(*check(seen.graph()), "channel_gather") == 1);
}

TEST_CASE("narrow convolutions of one value run as one, and so do depthwise ones behind them") {
  GraphBuilder b(12);
  const auto x = b.input("x", DataType::Float32, {1, 20, 9, 7});
  const auto base = b.op("Relu", "base", {conv(b, "first", x, {24, 20, 1, 1})});
  for (const std::int64_t channels : {1, 4, 2}) {
    const std::string name = "head" + std::to_string(channels);
    const auto head = conv(b, name, base, {channels, 24, 1, 1});
    const auto spread = conv(b, name + "_spread", head, {channels, 1, 3, 3},
                             {{"group", channels}, {"pads", Ints{1, 1, 1, 1}}});
    b.output(b.op("Transpose", name + "_y", {spread}, {{"perm", Ints{0, 2, 3, 1}}}));
  }
  const auto plan = check(b.graph());
  CHECK(std::ranges::count(plan->steps, "Conv", &plan::PlannedStep::op) == 3);
  CHECK(count(*plan, "channel_split") == 1);

  GraphBuilder apart;  // other windows, and activations that go into the epilogues
  const auto x2 = apart.input("x", DataType::Float32, {1, 20, 9, 7});
  apart.output(apart.op("Relu", "y", {conv(apart, "one", x2, {3, 20, 1, 1})}));
  apart.output(apart.op("Relu", "z", {conv(apart, "two", x2, {3, 20, 1, 1})}));
  apart.output(apart.op("Flatten", "u", {conv(apart, "three", x2, {3, 20, 1, 1})}));
  apart.output(apart.op("Flatten", "v", {conv(apart, "four", x2, {3, 20, 3, 3})}));
  CHECK(count(*check(apart.graph()), "channel_split") == 0);
}

TEST_CASE(
    "a narrow transposed convolution without overlaps is a pointwise one whose channels become positions") {
  for (const bool narrow : {true, false}) {
    GraphBuilder b;
    const auto x = b.input("x", DataType::Float32, {2, 20, 5, 7});
    const std::int64_t channels = narrow ? 2 : 5;
    const auto w = b.constant("w", test::random_tensor(Shape{20, channels, 2, 2}, 3));
    const auto bias = b.constant("b", test::random_tensor(Shape{channels}, 4));
    const auto large = b.op("ConvTranspose", "large", {x, w, bias}, {{"strides", Ints{2, 2}}});
    b.output(b.op("Sigmoid", "y", {large}));
    const auto plan = check(b.graph());
    CHECK(std::ranges::count(plan->steps, "DepthToSpace", &plan::PlannedStep::op) == (narrow ? 1 : 0));
  }
}

TEST_CASE("what is concatenated is made where it ends up, unless something else needs its memory") {
  const auto network = [](bool read_later) {
    GraphBuilder b;
    const auto x = b.input("x", DataType::Float32, {1, 16, 6, 6});
    const auto left = b.op("Relu", "left", {conv(b, "conv_left", x, {16, 16, 1, 1})});
    const auto right = b.op("Tanh", "right", {conv(b, "conv_right", x, {32, 16, 1, 1})});
    const auto all = b.op("Concat", "all", {left, right}, {{"axis", std::int64_t{1}}});
    const auto more = b.op("Concat", "more", {all, left, x}, {{"axis", std::int64_t{1}}});
    auto last = conv(b, "last", more, {16, 80, 1, 1});
    if (read_later) last = b.op("Mul", "product", {last, b.op("Neg", "negative", {left})});
    b.output(conv(b, "y", last, {16, 16, 1, 1}));
    b.output(conv(b, "z", all, {16, 48, 1, 1}));
    return b;
  };
  for (const bool read_later : {false, true}) {
    const auto plan = check(network(read_later).graph());
    const auto slot = [&](const std::string& name) {
      return *std::ranges::find_if(plan->slots, [&](const plan::Slot& held) {
        return held.name == name && held.desc.layout == ops::Layout::Blocked;
      });
    };
    CHECK(slot("left").offset == slot("all").offset);
    CHECK(slot("right").offset == slot("all").offset + slot("left").desc.bytes());
    CHECK(slot("all").offset == slot("more").offset);
  }
}

TEST_CASE("what is overwritten in place after it was concatenated keeps its own memory") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {1, 16, 6, 6});
  const auto left = conv(b, "left", x, {16, 16, 1, 1});
  const auto right = conv(b, "right", x, {16, 16, 1, 1});
  const auto all = b.op("Concat", "all", {left, right}, {{"axis", std::int64_t{1}}});
  const auto y = conv(b, "y", all, {16, 32, 3, 3}, {{"pads", Ints{1, 1, 1, 1}}});
  const auto negative = b.op("Neg", "negative", {left});  // may overwrite `left`
  b.output(conv(b, "z", b.op("Add", "sum", {negative, y}), {16, 16, 1, 1}));
  b.output(conv(b, "u", all, {16, 32, 1, 1}));
  check(b.graph());
}

TEST_CASE("convolutions around a depthwise one run as a chain, with the bits they have one by one") {
  struct Case {
    bool stem, expand, project, residual;
    std::int64_t stride, kernel, dilation, height, width;
  };
  const std::vector<Case> cases = {
      {false, true, true, true, 1, 3, 1, 61, 48},   {false, true, true, false, 2, 3, 1, 64, 47},
      {false, true, true, false, 1, 5, 1, 50, 60},  {false, true, true, false, 1, 3, 4, 50, 60},
      {false, true, false, false, 2, 3, 1, 57, 57}, {false, false, true, false, 1, 3, 1, 60, 50},
      {true, true, true, false, 1, 3, 1, 50, 56}};
  for (const Case& c : cases) {
    const auto network = [&](bool whole) {
      GraphBuilder b;
      const std::int64_t scale = c.stem ? 2 : 1;
      const std::int64_t channels = c.expand ? (c.stem ? 3 : 16) : 100;
      const auto x = b.input("x", DataType::Float32, {1, channels, c.height * scale, c.width * scale});
      auto value = x;
      const auto clip = [&](graph::ValueId v, const std::string& name) {
        return b.op("Clip", name,
                    {v, b.constant(name + "_low", Tensor::scalar(0.0F)),
                     b.constant(name + "_high", Tensor::scalar(6.0F))});
      };
      if (c.stem) {
        value = conv(b, "stem", value, {100, 3, 3, 3}, {{"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}});
        value = clip(value, "stem_relu");
      } else if (c.expand) {
        value = clip(conv(b, "expand", value, {100, channels, 1, 1}), "expand_relu");
      }
      if (!whole && c.expand) b.output(value);
      const std::int64_t pad = c.kernel / 2 * c.dilation;
      value = conv(b, "depthwise", value, {100, 1, c.kernel, c.kernel},
                   {{"group", std::int64_t{100}},
                    {"strides", Ints{c.stride, c.stride}},
                    {"dilations", Ints{c.dilation, c.dilation}},
                    {"pads", Ints{pad, pad, pad, pad}}});
      value = clip(value, "depthwise_relu");
      if (!whole && c.project) b.output(value);
      if (c.project) value = conv(b, "project", value, {16, 100, 1, 1});
      if (c.residual) value = b.op("Add", "sum", {value, x});
      b.output(b.op("Relu", "y", {value}));
      return b;
    };
    CAPTURE(c.stride);
    CAPTURE(c.kernel);
    const GraphBuilder whole = network(true);
    const auto plan = check(whole.graph());
    CHECK(count(*plan, "conv_chain") == 1);
    const auto inputs = random_inputs(whole.graph());
    const GraphBuilder apart = network(false);
    for (const simd::Isa isa : simd::available_isas()) {
      const auto one_by_one = compile(apart.graph(), isa);
      CHECK(count(*one_by_one, "conv_chain") == 0);
      CHECK(same_bits(run(compile(whole.graph(), isa), inputs, 2).back(), run(one_by_one, inputs, 1).back()));
    }
  }
}
