#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "surgery/pruning.hpp"

using namespace ember;
using namespace ember::test;

namespace {

using Indices = std::vector<std::int64_t>;

/// Weights of [outputs][...] around a zero point for each output; the rows in `constant` are at theirs.
Tensor weights_around(const Shape& shape, const std::vector<std::int8_t>& zeros, const Indices& constant) {
  Tensor w(DataType::Int8, shape);
  const std::int64_t each = shape.elements() / shape[0];
  for (std::int64_t o = 0; o < shape[0]; ++o) {
    const std::int8_t zero = zeros[zeros.size() == 1 ? 0 : static_cast<std::size_t>(o)];
    const bool dead = std::ranges::find(constant, o) != constant.end();
    for (std::int64_t i = 0; i < each; ++i) {
      const auto at = static_cast<std::size_t>(o * each + i);
      w.data<std::int8_t>()[at] = static_cast<std::int8_t>(dead ? zero : zero + (o * 13 + i * 7) % 41 - 20);
    }
  }
  return w;
}

graph::ValueId number(NetBuilder& net, const std::string& name, float value) {
  return net.constant(name, Tensor::scalar(value));
}
graph::ValueId zero_point(NetBuilder& net, const std::string& name, std::uint8_t value) {
  return net.constant(name, Tensor::scalar(value));
}

struct Quantised {
  NetBuilder net;
  graph::ValueId x;

  explicit Quantised(const std::vector<std::int64_t>& dims) {
    const auto input = net.input("x", DataType::Float32, dims);
    x = net.op("QuantizeLinear", "xq",
               {input, number(net, "x.scale", 0.02F), zero_point(net, "x.zero", 120)});
  }
  void finish(graph::ValueId y) {
    net.output(net.op("DequantizeLinear", "y", {y, number(net, "y.s", 0.05F), zero_point(net, "y.z", 7)}));
  }
};

}  // namespace

TEST_CASE("prune: QLinearConv with scales and zero points by channel, constants into its int32 bias") {
  for (const bool padded : {false, true}) {
    for (const bool biased : {true, false}) {
      CAPTURE(padded);
      CAPTURE(biased);
      Quantised q({1, 3, 6, 6});
      NetBuilder& net = q.net;
      const std::vector<std::int8_t> zeros = {3, -2, 0, 5, 1};
      // Rows 1 and 3 see nothing: 1 stores its zero point's neighbour by its bias, 3 the zero point itself.
      const auto a =
          net.op("QLinearConv", "a",
                 {q.x, net.constant("a.xs", Tensor::scalar(0.02F)), zero_point(net, "a.xz", 120),
                  net.constant("a.w", weights_around(Shape{5, 3, 1, 1}, zeros, {1, 3})),
                  net.constant("a.ws", random_tensor(Shape{5}, 2, 0.01F, 0.02F)),
                  net.constant("a.wz", Tensor(Shape{5}, zeros)), number(net, "a.ys", 0.03F),
                  zero_point(net, "a.yz", 100),
                  net.constant("a.b", Tensor(Shape{5}, std::vector<std::int32_t>{50, 3000, -20, 0, 10}))});
      std::vector<graph::ValueId> inputs = {a,
                                            net.constant("b.xs", Tensor::scalar(0.03F)),
                                            zero_point(net, "b.xz", 100),
                                            net.constant("b.w", weights_around(Shape{4, 5, 3, 3}, {2}, {})),
                                            number(net, "b.ws", 0.01F),
                                            net.constant("b.wz", Tensor::scalar(std::int8_t{2})),
                                            number(net, "b.ys", 0.05F),
                                            zero_point(net, "b.yz", 7)};
      if (biased)
        inputs.push_back(net.constant("b.b", Tensor(Shape{4}, std::vector<std::int32_t>{5, -5, 100, 0})));
      const std::int64_t pad = padded ? 1 : 0;
      q.finish(net.op("QLinearConv", "b", inputs, {{"pads", Indices{pad, pad, pad, pad}}}));
      const auto removal = removal_of(net);
      // What is at its zero point adds nothing even beside the padding, which stands for the zero point.
      CHECK(removed_from(removal, "a", 1) == (padded ? Indices{3} : Indices{1, 3}));
      const std::int64_t left = padded ? 4 : 3;
      CHECK(shape_of(*removal.graph, "a.wz") == Shape{left});
      CHECK(shape_of(*removal.graph, "a.ws") == Shape{left});
      CHECK(shape_of(*removal.graph, "b.w") == Shape{4, left, 3, 3});
      check_same(net.graph(), *removal.graph, 2, true);
    }
  }
}

TEST_CASE("prune: a depthwise and a grouped QLinearConv, and ConvInteger") {
  Quantised q({1, 4, 6, 6});
  NetBuilder& net = q.net;
  const auto qlinear = [&](const std::string& name, graph::ValueId x, Tensor w, std::int64_t group) {
    return net.op("QLinearConv", name,
                  {x, number(net, name + ".xs", 0.02F), zero_point(net, name + ".xz", 120),
                   net.constant(name + ".w", std::move(w)), number(net, name + ".ws", 0.02F),
                   net.constant(name + ".wz", Tensor::scalar(std::int8_t{0})),
                   number(net, name + ".ys", 0.02F), zero_point(net, name + ".yz", 120)},
                  {{"group", group}});
  };
  const auto a = qlinear("a", q.x, weights_around(Shape{6, 4, 1, 1}, {0}, {2, 5}), 1);
  const auto b = qlinear("b", a, weights_around(Shape{6, 1, 3, 3}, {0}, {}), 6);
  const auto c = qlinear("c", b, weights_around(Shape{4, 3, 1, 1}, {0}, {}), 2);
  const auto d = net.op(
      "ConvInteger", "d",
      {c, net.constant("d.w", weights_around(Shape{3, 4, 1, 1}, {0}, {})), zero_point(net, "d.xz", 120)});
  net.output(net.op("Cast", "y", {d}, {{"to", std::int64_t{1}}}));
  const auto removal = removal_of(net);
  CHECK(removed_from(removal, "a", 1) == Indices{2, 5});
  CHECK(shape_of(*removal.graph, "b.w") == Shape{4, 1, 3, 3});
  CHECK(shape_of(*removal.graph, "c.w") == Shape{4, 2, 1, 1});
  check_same(net.graph(), *removal.graph, 2, true);
}

TEST_CASE("prune: QLinearMatMul and MatMulInteger lose columns and rows, scales and zero points by column") {
  Quantised q({2, 4});
  NetBuilder& net = q.net;
  Tensor w(DataType::Int8, Shape{4, 6});
  for (std::size_t i = 0; i < 24; ++i)
    w.data<std::int8_t>()[i] =
        static_cast<std::int8_t>(i % 6 == 1 || i % 6 == 4 ? 0 : static_cast<int>(i * 11 % 37) - 18);
  const auto a = net.op(
      "QLinearMatMul", "a",
      {q.x, number(net, "a.xs", 0.02F), zero_point(net, "a.xz", 120), net.constant("a.w", std::move(w)),
       net.constant("a.ws", random_tensor(Shape{6}, 3, 0.01F, 0.02F)),
       net.constant("a.wz", Tensor(DataType::Int8, Shape{6})), number(net, "a.ys", 0.02F),
       zero_point(net, "a.yz", 90)});
  const auto findings = [&] {
    std::vector<surgery::StuckChannel> list;
    for (const std::int64_t unit : {1, 4})
      list.push_back({.value = a, .axis = 1, .index = unit, .constant = 90.0});
    return list;
  }();
  Tensor second(DataType::Int8, Shape{6, 3});
  for (std::size_t i = 0; i < 18; ++i)
    second.data<std::int8_t>()[i] = static_cast<std::int8_t>(static_cast<int>(i * 5 % 23) - 11);
  const auto b =
      net.op("MatMulInteger", "b", {a, net.constant("b.w", std::move(second)), zero_point(net, "b.xz", 90)});
  net.output(net.op("Cast", "y", {b}, {{"to", std::int64_t{1}}}));
  const auto removal = surgery::remove_channels(net.graph(), findings);
  CHECK(removed_from(removal, "a", 1) == Indices{1, 4});
  CHECK(shape_of(*removal.graph, "a.w") == Shape{4, 4});
  CHECK(shape_of(*removal.graph, "a.ws") == Shape{4});
  CHECK(shape_of(*removal.graph, "b.w") == Shape{4, 3});
  check_same(net.graph(), *removal.graph, 2, true);
}
