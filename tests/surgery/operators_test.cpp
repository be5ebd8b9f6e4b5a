#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "surgery/pruning.hpp"

// Every operator family that channels are followed through.

using namespace ember;
using namespace ember::test;

namespace {

using Indices = std::vector<std::int64_t>;
using graph::ValueId;

ValueId image(NetBuilder& net) { return net.input("x", DataType::Float32, {1, 3, 6, 6}); }

ValueId integers(NetBuilder& net, const std::string& name, const Indices& values) {
  return net.constant(name, Tensor(Shape{static_cast<std::int64_t>(values.size())}, values));
}

Tensor zero_columns(Tensor w, std::int64_t columns, const Indices& which) {
  const auto values = w.data<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::ranges::find(which, static_cast<std::int64_t>(i) % columns) != which.end()) values[i] = 0.0F;
  }
  return w;
}

}  // namespace

TEST_CASE("prune: Gemm and MatMul on either side, constants other than 0 into the bias") {
  NetBuilder net;
  const auto x = net.input("x", DataType::Float32, {2, 5});
  const auto a = net.relu(net.gemm("a", x, 6, 5, {{1, -1.0F}, {4, 0.5F}}));
  const auto b = net.op("MatMul", "b", {a, net.constant("b.w", random_tensor(Shape{6, 4}, 1))});
  const auto t = net.op("Transpose", "t", {b}, {{"perm", Indices{1, 0}}});
  const auto left = net.op("MatMul", "left", {net.constant("left.w", random_tensor(Shape{3, 4}, 2)), t});
  net.output(left);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1) == Indices{1, 4});
  CHECK(shape_of(*removal.graph, "b.w") == Shape{4, 4});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: weights on the left of a MatMul lose the columns of unread rows") {
  NetBuilder net;
  const auto x = net.input("x", DataType::Float32, {4, 2});
  Tensor first = random_tensor(Shape{5, 4}, 1);
  std::fill_n(first.data<float>().begin() + 8, 4, 0.0F);  // row 2 is constant 0
  const auto a = net.relu(net.op("MatMul", "a", {net.constant("a.w", std::move(first)), x}));
  net.output(net.op("MatMul", "y", {net.constant("y.w", random_tensor(Shape{3, 5}, 2)), a}));
  const auto removal = surgery::remove_channels(
      net.graph(), {{.value = net.graph().find_value("a.relu"), .axis = 0, .index = 2, .constant = 0.0}});
  CHECK(shape_of(*removal.graph, "a.w") == Shape{4, 4});
  CHECK(shape_of(*removal.graph, "y.w") == Shape{3, 4});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: BatchNormalization and PRelu lose their parameters") {
  NetBuilder net;
  const auto a = net.conv("a", image(net), 6, 3, {{2, 0.0F}, {3, 1.0F}});
  Tensor scale = random_tensor(Shape{6}, 1, 0.5F, 1.0F);
  scale.data<float>()[5] = 0.0F;
  const auto bn =
      net.op("BatchNormalization", "bn",
             {a, net.constant("scale", std::move(scale)), net.constant("shift", random_tensor(Shape{6}, 2)),
              net.constant("mean", random_tensor(Shape{6}, 3)),
              net.constant("variance", random_tensor(Shape{6}, 4, 0.5F, 1.0F))});
  const auto p = net.op("PRelu", "p", {bn, net.constant("slope", random_tensor(Shape{6, 1, 1}, 5))});
  net.finish(net.conv("b", p, 4, 6), 4);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1) == Indices{2, 3, 5});
  CHECK(shape_of(*removal.graph, "slope") == Shape{3, 1, 1});
  CHECK(shape_of(*removal.graph, "variance") == Shape{3});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: ConvTranspose, and bias added as a node of its own") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 5, 3, {{1, -1.0F}}));
  Tensor w = random_tensor(Shape{5, 4, 2, 2}, 1);
  for (std::size_t i = 0; i < 5; ++i)
    std::fill_n(w.data<float>().begin() + static_cast<std::ptrdiff_t>(i * 16 + 8), 4, 0.0F);
  const auto up = net.op("ConvTranspose", "up", {a, net.constant("up.w", std::move(w))},
                         {{"strides", Indices{2, 2}}, {"kernel_shape", Indices{2, 2}}});
  const auto sum = net.op("Add", "sum", {up, net.constant("sum.b", random_tensor(Shape{1, 4, 1, 1}, 2))});
  net.finish(net.conv("b", sum, 4, 4), 4);
  const auto removal = removal_of(net);
  CHECK(shape_of(*removal.graph, "up.w") == Shape{4, 3, 2, 2});
  CHECK(shape_of(*removal.graph, "sum.b") == Shape{1, 3, 1, 1});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: quantised weights lose scales and zero points") {
  NetBuilder net;
  std::vector<std::int8_t> quantised(6 * 3);
  for (std::size_t i = 0; i < quantised.size(); ++i)
    quantised[i] = static_cast<std::int8_t>(i / 3 == 2 ? 0 : i % 7 + 1);
  const auto w = net.op("DequantizeLinear", "a.w",
                        {net.constant("a.q", Tensor(Shape{6, 3, 1, 1}, quantised)),
                         net.constant("a.scale", random_tensor(Shape{6}, 1, 0.01F, 0.1F)),
                         net.constant("a.zero", Tensor(DataType::Int8, Shape{6}))},
                        {{"axis", std::int64_t{0}}});
  const auto a = net.relu(net.conv_of("a", image(net), w, net.bias("a.b", 6, {{2, -1.0F}}), {}));
  const auto scale = net.constant("scale", Tensor::scalar(0.05F));
  const auto zero = net.constant("zero", Tensor::scalar(std::uint8_t{3}));
  const auto q = net.op("QuantizeLinear", "q", {a, scale, zero});
  net.finish(
      net.conv("b", net.op("DequantizeLinear", "dq", {q, scale, zero}), 4, 6, {}, {.kernel = 3, .pad = 1}),
      4);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "dq", 1) == Indices{2});
  CHECK(shape_of(*removal.graph, "a.q") == Shape{5, 3, 1, 1});
  CHECK(shape_of(*removal.graph, "a.scale") == Shape{5});
  CHECK(shape_of(*removal.graph, "a.zero") == Shape{5});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: Concat of Concat, Split, Slice and Gather keep their books") {
  NetBuilder net;
  const auto x = image(net);
  const auto a = net.relu(net.conv("a", x, 4, 3, {{1, -1.0F}}));
  const auto b = net.relu(net.conv("b", x, 5, 3, {{0, -1.0F}, {4, 0.5F}}));
  const auto ab = net.op("Concat", "ab", {a, b}, {{"axis", std::int64_t{1}}});
  const auto aba = net.op("Concat", "aba", {ab, a}, {{"axis", std::int64_t{-3}}});
  const auto parts =
      net.node("Split", "parts", {aba, integers(net, "sizes", {6, 7})}, {{"axis", std::int64_t{1}}}, 2);
  const auto slice = net.op(
      "Slice", "slice",
      {parts[1], integers(net, "starts", {1}), integers(net, "ends", {100}), integers(net, "axes", {1})});
  const auto gather = net.op("Gather", "gather", {slice, integers(net, "indices", {5, 4, -6, 2, 1, 3})},
                             {{"axis", std::int64_t{1}}});
  // Channel 6 of aba is in no part that is read on.
  const auto joined = net.op("Concat", "joined", {gather, parts[0]}, {{"axis", std::int64_t{1}}});
  net.finish(net.relu(net.conv("c", joined, 4, 12)), 4);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "aba", 1) == Indices{1, 4, 6, 8, 10});
  CHECK(removed_from(removal, "joined", 1).size() == 4);
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: channels added by Pad go where the other operand of an Add is constant too") {
  NetBuilder net;
  const auto x = image(net);
  const auto a = net.relu(net.conv("a", x, 4, 3, {{2, -1.0F}}));
  const auto padded = net.op("Pad", "padded", {a, integers(net, "pads", {0, 2, 0, 0, 0, 2, 0, 0})});
  const auto b =
      net.relu(net.conv("b", a, 8, 4, {{0, -1.0F}, {4, -1.0F}, {7, -1.0F}}, {.kernel = 3, .pad = 1}));
  net.finish(net.relu(net.conv("c", net.op("Add", "sum", {padded, b}), 4, 8)), 4);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "sum", 1) == Indices{0, 4, 7});
  CHECK(removed_from(removal, "a", 1) == Indices{2});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: Resize to stated sizes, pools, squeeze and excite") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 6, 3, {{1, -1.0F}, {3, -0.5F}}));
  const auto up =
      net.op("Resize", "up", {a, graph::kNoValue, graph::kNoValue, integers(net, "sizes", {1, 6, 9, 9})});
  const auto pooled = net.op("AveragePool", "pooled", {up},
                             {{"kernel_shape", Indices{2, 2}},
                              {"pads", Indices{1, 1, 1, 1}},
                              {"count_include_pad", std::int64_t{1}}});
  const auto gate =
      net.op("Sigmoid", "gate",
             {net.conv("g", net.op("ReduceMean", "mean", {pooled}, {{"axes", Indices{2, 3}}}), 6, 6)});
  net.finish(net.relu(net.conv("b", net.op("Mul", "excited", {pooled, gate}), 4, 6)), 4);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1) == Indices{1, 3});
  CHECK(shape_of(*removal.graph, "g.w") == Shape{4, 4, 1, 1});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: channels last, reshaped to rows of pixels") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 4, 3, {{2, -1.0F}}));
  const auto nhwc = net.op("Transpose", "nhwc", {a}, {{"perm", Indices{0, 2, 3, 1}}});
  const auto rows = net.op("Reshape", "rows", {nhwc, integers(net, "shape", {1, 36, 4})});
  net.output(net.op("MatMul", "y", {rows, net.constant("y.w", random_tensor(Shape{4, 3}, 1))}));
  net.output(net.gemm("z", net.op("Reshape", "flat", {nhwc, integers(net, "all", {1, -1})}), 2, 144));
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "rows", 2) == Indices{2});
  CHECK(shape_of(*removal.graph, "z.w") == Shape{2, 108});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: a channel shuffle loses as many channels of every group") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 8, 3, {{1, -1.0F}, {5, -1.0F}, {6, -1.0F}}));
  const auto split = net.op("Reshape", "split", {a, integers(net, "to", {1, 2, 4, 6, 6})});
  const auto swapped = net.op("Transpose", "swapped", {split}, {{"perm", Indices{0, 2, 1, 3, 4}}});
  const auto shuffled = net.op("Reshape", "shuffled", {swapped, integers(net, "back", {1, 8, 6, 6})});
  net.finish(net.relu(net.conv("b", shuffled, 4, 8)), 4);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1) == Indices{1, 5});
  CHECK(removed_from(removal, "shuffled", 1) == Indices{2, 3});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: groups of a convolution lose as many channels each, or go whole") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 9, 3,
                                   {{0, -1.0F}, {4, -1.0F}, {5, -1.0F}, {6, -1.0F}, {7, -1.0F}, {8, -1.0F}}));
  // The last group of b reads dead channels only, and its outputs are dead as well.
  const auto b =
      net.relu(net.conv("b", a, 6, 9, {{4, -1.0F}, {5, -1.0F}}, {.kernel = 3, .pad = 1, .group = 3}));
  net.finish(net.relu(net.conv("c", b, 4, 6)), 4);
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1).size() == 5);
  CHECK(removed_from(removal, "b", 1) == Indices{4, 5});
  CHECK(shape_of(*removal.graph, "b.w") == Shape{4, 2, 3, 3});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: hidden units of an LSTM that nobody reads, and inputs that are 0") {
  NetBuilder net;
  const auto x = net.input("x", DataType::Float32, {3, 1, 5});
  const auto a = net.relu(
      net.op("MatMul", "a", {x, net.constant("a.w", zero_columns(random_tensor(Shape{5, 4}, 1), 4, {1}))}));
  Tensor r = zero_columns(random_tensor(Shape{1, 24, 6}, 3), 6, {2});
  // Unit 4 has no candidate: it stays at 0.
  Tensor w = random_tensor(Shape{1, 24, 4}, 2);
  Tensor b = random_tensor(Shape{1, 48}, 4);
  const std::size_t row = 3 * 6 + 4;
  std::fill_n(w.data<float>().begin() + static_cast<std::ptrdiff_t>(row * 4), 4, 0.0F);
  std::fill_n(r.data<float>().begin() + static_cast<std::ptrdiff_t>(row * 6), 6, 0.0F);
  b.data<float>()[row] = b.data<float>()[24 + row] = 0.0F;
  const auto y = net.node(
      "LSTM", "lstm",
      {a, net.constant("w", std::move(w)), net.constant("r", std::move(r)), net.constant("b", std::move(b))},
      {{"hidden_size", std::int64_t{6}}}, 1)[0];
  const auto flat = net.op("Reshape", "flat", {y, integers(net, "shape", {3, 6})});
  Tensor last = random_tensor(Shape{6, 2}, 5);
  last.data<float>()[4] = last.data<float>()[5] = 0.0F;  // unit 2 is not read
  net.output(net.op("MatMul", "y", {flat, net.constant("y.w", std::move(last))}));
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "lstm", 3) == Indices{2, 4});
  CHECK(shape_of(*removal.graph, "w") == Shape{1, 16, 3});
  CHECK(shape_of(*removal.graph, "r") == Shape{1, 16, 4});
  CHECK(shape_of(*removal.graph, "b") == Shape{1, 32});
  check_same(net.graph(), *removal.graph);
}

TEST_CASE("prune: shapes computed from extents follow, and a number computed from them is refused") {
  for (const bool number : {false, true}) {
    NetBuilder net;
    const auto a = net.relu(net.conv("a", image(net), 4, 3, {{1, -1.0F}}));
    const auto shape = net.op("Shape", "extents", {a});
    const auto channels = net.op("Gather", "channels", {shape, integers(net, "one", {1})});
    ValueId y = a;
    if (number)
      y = net.op("Mul", "scaled", {a, net.op("Cast", "float", {channels}, {{"to", std::int64_t{1}}})});
    const auto to =
        net.op("Concat", "to", {integers(net, "batch", {1}), channels, integers(net, "rest", {-1})},
               {{"axis", std::int64_t{0}}});
    const auto rows = net.op("Reshape", "rows", {y, to});
    net.output(net.op("ReduceMean", "y",
                      {net.op("MatMul", "m", {net.constant("m.w", random_tensor(Shape{3, 4}, 1)), rows})},
                      {{"axes", Indices{2}}}));
    const auto removal = removal_of(net);
    CHECK(removed_from(removal, "rows", 1) == (number ? Indices{} : Indices{1}));
    check_same(net.graph(), *removal.graph);
  }
}

TEST_CASE("prune: layers are rounded up to a multiple") {
  NetBuilder net;
  const auto a = net.relu(net.conv("a", image(net), 16, 3, {{1, -1.0F}, {2, -1.0F}, {3, -1.0F}}));
  net.finish(net.relu(net.conv("b", a, 8, 16)), 8);
  CHECK(shape_of(*removal_of(net, 4).graph, "a.w")[0] == 16);
  CHECK(shape_of(*removal_of(net, 7).graph, "a.w")[0] == 14);
  CHECK(shape_of(*removal_of(net, 1).graph, "a.w")[0] == 13);
  CHECK(kept_because(removal_of(net, 7), "a", 3).find("a multiple of 7") != std::string::npos);
  check_same(net.graph(), *removal_of(net, 7).graph);
}
