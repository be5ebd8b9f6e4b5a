#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "surgery/pruning.hpp"

using namespace ember;
using namespace ember::test;

// Constants other than 0 that are read through zero padding: no bias replaces them, but one stands for all.

namespace {

using Indices = std::vector<std::int64_t>;

graph::ValueId image(NetBuilder& net) { return net.input("x", DataType::Float32, {1, 3, 6, 6}); }
bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
constexpr NetBuilder::ConvOptions kPadded{.kernel = 3, .pad = 1};

}  // namespace

TEST_CASE("prune: constants read through zero padding are merged into one") {
  for (const std::int64_t stride : {1, 2}) {
    NetBuilder net;
    const auto a = net.relu(net.conv("a", image(net), 8, 3, {{1, 0.5F}, {3, 6.0F}, {4, 0.1F}, {6, -1.0F}}));
    net.finish(net.relu(net.conv("b", a, 5, 8, {}, {.kernel = 3, .pad = 1, .stride = stride})), 5);
    const auto removal = removal_of(net);
    CHECK(removed_from(removal, "a", 1) == Indices{3, 4, 6});
    CHECK(shape_of(*removal.graph, "b.w") == Shape{5, 5, 3, 3});
    CHECK(contains(kept_because(removal, "a", 1), "b_node: it stands for all constant channels"));
    REQUIRE(removal.notes.size() == 1);
    CHECK(contains(removal.notes[0], "b_node: 2 constant channels"));
    check_same(net.graph(), *removal.graph);
    CHECK(surgery::remove_channels(*removal.graph, {}).removed.empty());
  }
}

TEST_CASE("prune: merged constants of several readers, each with its own stand-in or its bias") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 8, 3, {{1, 0.5F}, {3, 6.0F}, {4, 0.1F}}));
  const auto padded = net.conv("padded", a, 4, 8, {}, kPadded);
  const auto other = net.conv("other", a, 4, 8, {}, kPadded);
  const auto plain = net.conv("plain", a, 4, 8);
  const auto joined = net.op("Concat", "joined", {padded, other, plain}, {{"axis", std::int64_t{1}}});
  net.finish(joined, 12);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1) == Indices{3, 4});
  CHECK(removal.notes.size() == 2);
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: a constant that has to stay anyway stands for the others") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 6, 3, {{1, 0.5F}, {2, 0.25F}, {5, 2.0F}}));
  const auto b = net.relu(net.conv("b", image(net), 6, 3, {{5, 1.0F}}));
  // Channel 5 of both is read by an addition with something live; channels 1 and 2 are not.
  const auto live = net.conv("live", image(net), 1, 3);
  const auto last = [&](const char* name, graph::ValueId x, std::int64_t from) {
    return net.op("Slice", name,
                  {x, net.constant(std::string(name) + ".from", Tensor(Shape{1}, Indices{from})),
                   net.constant(std::string(name) + ".to", Tensor(Shape{1}, Indices{6})),
                   net.constant(std::string(name) + ".axes", Tensor(Shape{1}, Indices{1}))});
  };
  const auto sum = net.op("Add", "sum", {last("tail", a, 5), live});
  const auto c = net.conv("c", a, 4, 6, {}, kPadded);
  const auto d = net.conv("d", b, 4, 6, {}, kPadded);
  net.finish(net.op("Concat", "joined", {c, d, sum}, {{"axis", std::int64_t{1}}}), 9);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1) == Indices{1, 2});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: constants are not merged where the weights are another node's too") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 4, 3, {{1, 0.5F}, {2, 2.0F}}));
  const auto b = net.relu(net.conv("b", image(net), 4, 3, {{1, 1.5F}, {2, 0.5F}}));
  const auto w = net.weights("w", {4, 4, 3, 3}, {});
  const auto c = net.conv_of("c", a, w, net.bias("c.b", 4, {}), kPadded);
  const auto d = net.conv_of("d", b, w, net.bias("d.b", 4, {}), kPadded);
  net.finish(net.op("Concat", "joined", {c, d}, {{"axis", std::int64_t{1}}}), 8);
  const auto removal = removal_of(net);
  CHECK(removal.removed.empty());
  CHECK(contains(kept_because(removal, "a", 1), "it pads with zeros"));
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: constant inputs of a recurrent layer and of a transposed convolution are merged") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 5, 3, {{1, 0.5F}, {2, 2.0F}, {4, 1.0F}}));
  net.output(
      net.op("ConvTranspose", "up",
             {a, net.constant("up.w", random_tensor(Shape{5, 3, 3, 3}, 9)),
              net.constant("up.b", random_tensor(Shape{3}, 10))},
             {{"kernel_shape", Indices{3, 3}}, {"pads", Indices{1, 1, 1, 1}}, {"strides", Indices{2, 2}}}));
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1) == Indices{2, 4});
  CHECK(shape_of(*removal.graph, "up.w") == Shape{3, 3, 3, 3});
  check_same(net.graph(), *removal.graph);

  NetBuilder steps;
  const auto rows = steps.input("x", DataType::Float32, {4, 2, 3});
  const auto dense = steps.op("Add", "dense",
                              {steps.op("MatMul", "m",
                                        {rows, steps.constant("m.w",
                                                              [&] {
                                                                Tensor w = random_tensor(Shape{3, 5}, 3);
                                                                for (std::size_t i = 0; i < 3; ++i)
                                                                  w.data<float>()[i * 5 + 1] =
                                                                      w.data<float>()[i * 5 + 3] = 0.0F;
                                                                return w;
                                                              }())}),
                               steps.constant("m.b", random_tensor(Shape{5}, 4, 0.5F, 1.0F))});
  const auto states = steps.node("LSTM", "lstm",
                                 {dense, steps.constant("lstm.w", random_tensor(Shape{1, 16, 5}, 5)),
                                  steps.constant("lstm.r", random_tensor(Shape{1, 16, 4}, 6)),
                                  steps.constant("lstm.b", random_tensor(Shape{1, 32}, 7))},
                                 {{"hidden_size", std::int64_t{4}}}, 1);
  steps.output(states[0]);
  const auto fewer = removal_of(steps);
  CHECK(removed_from(fewer, "dense", 2) == Indices{3});
  CHECK(shape_of(*fewer.graph, "lstm.w") == Shape{1, 16, 4});
  check_same(steps.graph(), *fewer.graph);
}
