#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "surgery/pruning.hpp"

// What pruning tools are known to get wrong, one test each.

using namespace ember;
using namespace ember::test;

namespace {

using Indices = std::vector<std::int64_t>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

graph::ValueId image(NetBuilder& net, std::int64_t channels = 3) {
  return net.input("x", DataType::Float32, {1, channels, 6, 6});
}

}  // namespace

TEST_CASE("prune: a dead channel goes through its whole chain") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 8, 3, {{1, -0.5F}, {6, -1.0F}}, {.kernel = 3, .pad = 1}));
  const auto b = net.relu(net.conv("b", a, 8, 8, {}, {.kernel = 3, .pad = 1}));
  net.finish(b, 8);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1) == Indices{1, 6});
  CHECK(removed_from(removal, "a.relu", 1) == Indices{1, 6});
  CHECK(shape_of(*removal.graph, "a.w") == Shape{6, 3, 3, 3});
  CHECK(shape_of(*removal.graph, "a.b") == Shape{6});
  CHECK(shape_of(*removal.graph, "b.w") == Shape{8, 6, 3, 3});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune trap: a residual Add whose other operand is live") {
  NetBuilder net;
  const auto trunk = net.relu(net.conv("trunk", image(net), 8, 3));
  const auto branch = net.relu(net.conv("branch", trunk, 8, 8, {{2, -1.0F}}));
  const auto sum = net.op("Add", "sum", {trunk, branch});
  net.finish(net.relu(net.conv("next", sum, 8, 8)), 8);
  const auto removal = removal_of(net);
  CHECK(removal.removed.empty());
  CHECK(contains(kept_because(removal, "branch", 2), "sum_node: its operand 'trunk.relu' is not constant"));
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: a residual channel goes when every operand is constant in it") {
  NetBuilder net;
  const auto trunk = net.relu(net.conv("trunk", image(net), 8, 3, {{2, -1.0F}, {5, -1.0F}}));
  const auto branch = net.relu(net.conv("branch", trunk, 8, 8, {{2, -1.0F}, {3, -1.0F}}));
  net.finish(net.relu(net.conv("next", net.op("Add", "sum", {trunk, branch}), 8, 8)), 8);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "sum", 1) == Indices{2});
  CHECK(removed_from(removal, "branch", 1) == Indices{2});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune trap: a padded convolution reads a channel stuck at 6") {
  for (const std::int64_t pad : {0, 1}) {
    NetBuilder net;
    const auto a = net.conv("a", image(net), 8, 3, {{4, 9.0F}}, {.kernel = 3, .pad = 1});
    const auto six =
        net.op("Clip", "six",
               {a, net.constant("low", Tensor::scalar(0.0F)), net.constant("high", Tensor::scalar(6.0F))});
    net.finish(net.relu(net.conv("b", six, 8, 8, {}, {.kernel = 3, .pad = pad})), 8);
    const auto removal = removal_of(net);
    if (pad == 0) {
      CHECK(removed_from(removal, "six", 1) == Indices{4});
    } else {
      CHECK(removal.removed.empty());
      CHECK(contains(kept_because(removal, "a", 4), "b_node: it pads with zeros"));
    }
    check_same(net.graph(), *removal.graph);
  }
}

TEST_CASE("prune trap: a Sobel filter sums to 0 and is not dead") {
  NetBuilder net;
  Tensor sobel = random_tensor(Shape{2, 1, 3, 3}, 5);
  const std::vector<float> kernel = {1, 0, -1, 2, 0, -2, 1, 0, -1};
  std::copy(kernel.begin(), kernel.end(), sobel.data<float>().begin());
  const auto a = net.conv_of("a", image(net, 1), net.constant("a.w", std::move(sobel)), graph::kNoValue,
                             {.kernel = 3, .pad = 1});
  net.finish(net.relu(a), 2);
  const auto removal = removal_of(net);
  CHECK(removal.removed.empty());
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune trap: a depthwise convolution with positive bias after a dead channel") {
  for (const std::int64_t kernel : {1, 3}) {
    NetBuilder net;
    const auto a = net.relu(net.conv("a", image(net), 8, 3, {{3, -1.0F}}));
    // Its own weights are live: from a channel of zeros it makes its bias, which passes the ReLU.
    auto depthwise = net.bias("d.b", 8, {{3, 0.75F}});
    const auto d = net.relu(net.conv_of("d", a, net.weights("d.w", {8, 1, 3, 3}, {}), depthwise,
                                        {.kernel = 3, .pad = 1, .group = 8}));
    net.finish(net.relu(net.conv("p", d, 8, 8, {}, {.kernel = kernel, .pad = kernel / 2})), 8);
    const auto removal = removal_of(net);
    if (kernel == 1) {
      CHECK(removed_from(removal, "d", 1) == Indices{3});
      CHECK(shape_of(*removal.graph, "d.w") == Shape{7, 1, 3, 3});
    } else {
      CHECK(removal.removed.empty());
      CHECK(contains(kept_because(removal, "a", 3), "p_node: it pads with zeros"));
    }
    check_same(net.graph(), *removal.graph);
  }
}

TEST_CASE("prune trap: a channel read by two consumers, one of them before the activation") {
  NetBuilder net;
  // Its own bias makes it negative, not constant: only the activation is stuck, by the audit's word.
  const auto a = net.conv("a", image(net), 8, 3, {}, {.kernel = 1});
  const auto r = net.relu(a);
  const auto one = net.conv("one", r, 4, 8);
  const auto two = net.conv("two", a, 4, 8);
  net.finish(net.op("Concat", "both", {one, two}, {{"axis", std::int64_t{1}}}), 8);
  const std::vector<surgery::StuckChannel> findings = {
      {.value = net.graph().find_value("a.relu"), .axis = 1, .index = 5, .constant = 0.0}};
  const auto removal = surgery::remove_channels(net.graph(), findings);
  CHECK(removal.removed.empty());
  CHECK(contains(kept_because(removal, "a.relu", 5), "two_node: it reads 'a', which is not constant"));
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune trap: a Flatten with H x W > 1") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 4, 3, {{1, -1.0F}, {3, 0.5F}}));
  net.output(net.gemm("scores", net.op("Flatten", "flat", {a}), 5, 4 * 36));
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1) == Indices{1, 3});
  CHECK(shape_of(*removal.graph, "scores.w") == Shape{5, 72});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune trap: weights shared by two nodes") {
  for (const bool both : {false, true}) {
    NetBuilder net;
    const auto x = image(net);
    const auto w = net.weights("w", {8, 3, 1, 1}, {});
    // Each node has a bias of its own; the audit says which channels are stuck.
    const auto a = net.relu(net.conv_of("a", x, w, net.bias("a.b", 8, {}), {}));
    const auto b = net.relu(net.conv_of("b", x, w, net.bias("b.b", 8, {}), {}));
    net.finish(
        net.op("Concat", "c", {net.conv("p", a, 4, 8), net.conv("q", b, 4, 8)}, {{"axis", std::int64_t{1}}}),
        8);
    // Held at 0 by weights that would make them live elsewhere: only the structure is looked at here.
    std::vector<surgery::StuckChannel> findings = {
        {.value = net.graph().find_value("a.relu"), .axis = 1, .index = 2, .constant = 0.0}};
    if (both)
      findings.push_back({.value = net.graph().find_value("b.relu"), .axis = 1, .index = 2, .constant = 0.0});
    const auto removal = surgery::remove_channels(net.graph(), findings);
    CHECK(removal.removed.size() == (both ? 1U : 0U));
    CHECK(shape_of(*removal.graph, "w") == (both ? Shape{7, 3, 1, 1} : Shape{8, 3, 1, 1}));
    if (!both) {
      CHECK(contains(kept_because(removal, "a.relu", 2), "q_node: it reads 'b.relu'"));
      check_same(net.graph(), *removal.graph);
    }
  }
}

TEST_CASE("prune trap: a graph output exposes the channel") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 8, 3, {{1, -1.0F}}));
  net.output(a);
  net.finish(net.relu(net.conv("b", a, 8, 8)), 8);
  const auto removal = removal_of(net);
  CHECK(removal.removed.empty());
  CHECK(contains(kept_because(removal, "a", 1), "'a.relu' is an output of the network"));
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: at least one channel of a layer stays") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 3, 3, {{0, -1.0F}, {1, -1.0F}, {2, -1.0F}}));
  net.finish(net.relu(net.conv("b", a, 4, 3)), 4);
  const auto removal = removal_of(net);
  CHECK(shape_of(*removal.graph, "a.w") == Shape{1, 3, 1, 1});
  CHECK(contains(kept_because(removal, "a", 0), "at least one channel"));
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: what feeds only removed or unread channels goes, back through the network") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 6, 3));
  // Channel 4 of a is read with weights of 0 only, but by channel 2 of b, which is dead.
  Tensor w = random_tensor(Shape{5, 6, 1, 1}, 3);
  for (std::size_t o = 0; o < 5; ++o) w.data<float>()[o * 6 + 4] = o == 2 ? 1.0F : 0.0F;
  const auto b = net.conv_of("b", a, net.constant("b.w", std::move(w)), net.bias("b.b", 5, {}), {});
  Tensor last = random_tensor(Shape{4, 5, 1, 1}, 4);
  for (std::size_t o = 0; o < 4; ++o) last.data<float>()[o * 5 + 2] = 0.0F;
  net.finish(net.conv_of("c", net.relu(b), net.constant("c.w", std::move(last)), graph::kNoValue, {}), 4);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "b", 1) == Indices{2});
  CHECK(removed_from(removal, "a", 1) == Indices{4});
  check_same(net.graph(), *removal.graph);
}
