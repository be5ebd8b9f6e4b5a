#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ember/error.hpp>

#include "plan/fuse.hpp"
#include "plan/pack_cache.hpp"
#include "plan/plan.hpp"
#include "plan/specialize.hpp"
#include "support/compiled.hpp"
#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using test::GraphBuilder;

namespace {

std::shared_ptr<const plan::Plan> compile(const graph::Graph& graph,
                                          std::vector<plan::ProbeRequest> probes = {}) {
  plan::PlanOptions options;
  options.isa = simd::available_isas().back();
  options.input_shapes = plan::resolve_input_shapes(graph, {});
  options.probes = std::move(probes);
  return test::compiled(graph, options);
}

Tensor integers(std::vector<std::int64_t> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  return {Shape{count}, values};
}

/// x -> Conv -> BatchNorm-free -> (+ shortcut) -> Relu -> y, shortcut = Conv(x)
GraphBuilder residual_block() {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {1, 8, 6, 6});
  const auto w1 = b.constant("w1", test::random_tensor({8, 8, 3, 3}, 1));
  const auto w2 = b.constant("w2", test::random_tensor({8, 8, 1, 1}, 2));
  const auto main = b.op("Conv", "main", {x, w1}, {{"pads", std::vector<std::int64_t>{1, 1, 1, 1}}});
  const auto shortcut = b.op("Conv", "shortcut", {x, w2});
  const auto sum = b.op("Add", "sum", {main, shortcut});
  b.output(b.op("Relu", "y", {sum}));
  return b;
}

}  // namespace

TEST_CASE("specialising folds what the input shapes decide") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {-1, 6});
  const auto shape = b.op("Shape", "shape", {x});
  const auto first = b.op("Gather", "first", {shape, b.constant("zero", integers({0}))});
  const auto target =
      b.op("Concat", "target", {first, b.constant("rest", integers({2, 3}))}, {{"axis", std::int64_t{0}}});
  b.output(b.op("Reshape", "y", {x, target}));
  const plan::Specialized s = plan::specialize(b.graph(), {{"x", Shape{5, 6}}});
  REQUIRE(s.graph.order().size() == 1);
  CHECK(s.graph.node(s.graph.order()[0]).op == "Reshape");
  CHECK(s.fact(s.graph.outputs[0]).shape == Shape{5, 2, 3});
}

TEST_CASE("a shape that comes with the data stays open") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {6});
  const auto target = b.input("target", DataType::Int64, {2});
  b.output(b.op("Reshape", "y", {x, target}));
  const plan::Specialized s = plan::specialize(b.graph(), {{"x", Shape{6}}, {"target", Shape{2}}});
  CHECK_FALSE(s.is_static(s.graph.outputs[0]));
  CHECK_FALSE(compile(b.graph())->fully_static);
}

TEST_CASE("input shapes: open extents are 1, the batch may be overridden, other extents may not") {
  GraphBuilder b;
  b.input("x", DataType::Float32, {-1, 3, 4});
  CHECK(plan::resolve_input_shapes(b.graph(), {}).at("x") == Shape{1, 3, 4});
  CHECK(plan::resolve_input_shapes(b.graph(), {{"x", Shape{7, 3, 4}}}).at("x") == Shape{7, 3, 4});
  CHECK_THROWS_WITH_AS(plan::resolve_input_shapes(b.graph(), {{"x", Shape{7, 2, 4}}}),
                       doctest::Contains("[N, 3, 4]"), Error);
  CHECK_THROWS_WITH_AS(plan::resolve_input_shapes(b.graph(), {{"z", Shape{1}}}),
                       doctest::Contains("its inputs are: x"), Error);
}

TEST_CASE("a residual block is two steps") {
  const GraphBuilder b = residual_block();
  const plan::Specialized s = plan::specialize(b.graph(), {{"x", Shape{1, 8, 6, 6}}});
  const std::vector<plan::Group> groups = plan::fuse(s, {});
  REQUIRE(groups.size() == 2);
  // One convolution takes the sum and the Relu; it runs last, when the other one's result is there.
  CHECK_FALSE(groups[0].fused());
  CHECK(groups[1].epilogue.residual);
  CHECK(groups[1].epilogue.after.kind == kernels::ActivationKind::Relu);
  CHECK(s.graph.value(groups[1].output).name == "y");
  CHECK(s.graph.value(groups[1].residual).name == s.graph.value(groups[0].output).name);
}

TEST_CASE("nothing is fused across a value that is kept") {
  const GraphBuilder b = residual_block();
  const plan::Specialized s = plan::specialize(b.graph(), {{"x", Shape{1, 8, 6, 6}}});
  const std::vector<plan::Group> groups = plan::fuse(s, {s.graph.find_value("sum")});
  REQUIRE(groups.size() == 3);
  CHECK(groups[1].epilogue.residual);
  CHECK(groups[1].epilogue.after.kind == kernels::ActivationKind::None);
}

TEST_CASE("a probed value is probed right after the step that makes it") {
  const GraphBuilder b = residual_block();
  const auto plan = compile(b.graph(), {{.value = "sum", .plain = false}});
  const auto probe = std::ranges::find_if(
      plan->steps, [](const auto& s) { return s.kind == plan::PlannedStep::Kind::Probe; });
  REQUIRE(probe != plan->steps.end());
  REQUIRE(probe != plan->steps.begin());
  CHECK((probe - 1)->outputs[0] == probe->inputs[0]);
  CHECK_THROWS_AS(compile(b.graph(), {{.value = "nowhere", .plain = false}}), Error);
}

TEST_CASE("slots that live at the same time do not overlap, and the arena is tighter than their sum") {
  GraphBuilder b;
  auto value = b.input("x", DataType::Float32, {1, 1000});
  const auto first = value;
  for (int i = 0; i < 12; ++i) value = b.op(i % 2 == 0 ? "Neg" : "Abs", "v" + std::to_string(i), {value});
  b.output(b.op("Add", "y", {value, first}));
  const auto plan = compile(b.graph());
  std::vector<std::pair<int, int>> lifetime(plan->slots.size(), {1 << 30, -1});
  const auto touch = [&](int slot, int at) {
    if (slot < 0) return;
    auto& [from, to] = lifetime[static_cast<std::size_t>(slot)];
    from = std::min(from, at);
    to = std::max(to, at);
  };
  for (std::size_t at = 0; at < plan->steps.size(); ++at) {
    for (const int slot : plan->steps[at].inputs) touch(slot, static_cast<int>(at));
    for (const int slot : plan->steps[at].outputs) touch(slot, static_cast<int>(at));
  }
  touch(plan->inputs[0], -1);
  touch(plan->inputs[0], 1 << 29);
  touch(plan->outputs[0], 1 << 29);
  std::size_t sum = 0;
  for (std::size_t i = 0; i < plan->slots.size(); ++i) {
    sum += plan->slots[i].desc.bytes();
    for (std::size_t j = 0; j < i; ++j) {
      const auto& a = plan->slots[i];
      const auto& c = plan->slots[j];
      if (a.kind != plan::Slot::Kind::Arena || c.kind != plan::Slot::Kind::Arena) continue;
      // Strictly: a step's input and output may share memory only where the step says so (in place).
      const bool together = lifetime[i].first < lifetime[j].second && lifetime[j].first < lifetime[i].second;
      const bool apart = a.offset + a.desc.bytes() <= c.offset || c.offset + c.desc.bytes() <= a.offset;
      CHECK_MESSAGE((!together || apart), a.name << " overlaps " << c.name);
    }
  }
  CHECK(plan->arena_bytes < sum / 2);
}

TEST_CASE("packed weights are shared while somebody uses them and never mixed up") {
  plan::PackCache cache;
  plan::Packing packing(cache);
  SerialParallel serial;
  auto source = std::make_shared<const Tensor>(Tensor::scalar(41.0F));
  int fills = 0;
  const auto fill = [&](const Tensor& from, float* to) {
    ++fills;
    *to = from.data<float>()[0] + 1.0F;
  };
  auto first = packing.get(source, "key", 16, fill);
  CHECK(fills == 0);
  packing.run(serial);
  CHECK(first[0] == 42.0F);
  auto second = packing.get(source, "key", 16, fill);
  CHECK(first == second);
  CHECK(packing.get(source, "other", 16, fill) != first);
  packing.run(serial);
  CHECK(fills == 1);  // nobody has kept the other one
  first.reset();
  second.reset();
  first = packing.get(source, "key", 16, fill);
  packing.run(serial);
  CHECK(first[0] == 42.0F);
  CHECK(fills == 2);

  second = packing.get(source, "another", 16, fill);
  const std::weak_ptr<const Tensor> watched = std::exchange(source, nullptr);
  CHECK_FALSE(watched.expired());
  packing.run(serial);
  CHECK(watched.expired());
}

TEST_CASE("weights that two plans share are filled once, by whoever comes first") {
  plan::PackCache cache;
  plan::Packing one(cache), other(cache);
  const auto source = std::make_shared<const Tensor>(Tensor::scalar(0.0F));
  std::atomic<int> fills = 0;
  const auto fill = [&](const Tensor&, float* to) {
    ++fills;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    *to = 42.0F;
  };
  const auto first = one.get(source, "key", 16, fill);
  const auto second = other.get(source, "key", 16, fill);
  CHECK(first == second);
  const auto run = [](plan::Packing& packing, const ops::PackedWeights& weights) {
    SerialParallel serial;
    packing.run(serial);
    return weights[0];
  };
  float seen = 0;
  std::thread thread([&] { seen = run(one, first); });
  CHECK(run(other, second) == 42.0F);
  thread.join();
  CHECK(seen == 42.0F);
  CHECK(fills == 1);
}

TEST_CASE("watched signs: Winograd only where a bias keeps rounding away from zero") {
  const auto implementation = [](float bias, bool watched) {
    GraphBuilder b;
    const auto x = b.input("x", DataType::Float32, {1, 32, 24, 24});
    const auto w = b.constant("w", test::random_tensor({32, 32, 3, 3}, 1));
    Tensor shifts(DataType::Float32, {32});
    std::ranges::fill(shifts.data<float>(), 0.5F);
    shifts.data<float>()[7] = bias;
    const auto pre = b.op("Conv", "pre", {x, w, b.constant("b", std::move(shifts))});
    b.output(b.op("Relu", "y", {pre}));
    std::vector<plan::ProbeRequest> probes;
    if (watched) probes.push_back({.value = "pre"});
    const auto compiled = compile(b.graph(), std::move(probes));
    for (const plan::PlannedStep& step : compiled->steps) {
      if (step.op == "Conv") return step.implementation;
    }
    return std::string();
  };
  CHECK(implementation(0.0F, false) == "conv_winograd_f4");
  CHECK(implementation(0.5F, true) == "conv_winograd_f4");
  CHECK(implementation(-1e-4F, true) == "conv_direct");
  CHECK(implementation(0.0F, true) == "conv_direct");
}

TEST_CASE("a product takes the constant added per column, what follows it and a residual") {
  const auto groups_of = [](Shape row) {
    GraphBuilder b;
    const auto x = b.input("x", DataType::Float32, {1, 5, 8});
    const auto w = b.constant("w", test::random_tensor({8, 8}, 1));
    const auto product = b.op("MatMul", "product", {x, w});
    const auto biased = b.op("Add", "biased", {b.constant("b", test::random_tensor(row, 2)), product});
    b.output(b.op("Add", "y", {biased, x}));
    const plan::Specialized s = plan::specialize(b.graph(), {{"x", Shape{1, 5, 8}}});
    return plan::fuse(s, {});
  };
  const auto fused = groups_of({8});
  REQUIRE(fused.size() == 1);
  CHECK(fused[0].bias != graph::kNoValue);
  CHECK(fused[0].epilogue.residual);
  CHECK(groups_of({1, 1, 8}).size() == 1);
  // One per row is no bias of columns.
  for (const plan::Group& group : groups_of({5, 1})) CHECK(group.bias == graph::kNoValue);
  for (const plan::Group& group : groups_of({5, 8})) CHECK(group.bias == graph::kNoValue);
}
