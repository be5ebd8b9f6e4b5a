#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <ember/model.hpp>
#include <ember/prune.hpp>

#include "ops/interpreter.hpp"
#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"
#include "surgery/removal.hpp"

namespace ember::test {

/// Channels of a layer whose weights are all 0: what they are constant at.
using Planted = std::map<std::int64_t, float>;

/// Builds networks with planted constant channels.
class NetBuilder : public GraphBuilder {
 public:
  using GraphBuilder::GraphBuilder;

  struct ConvOptions {
    std::int64_t kernel = 1, pad = 0, stride = 1, group = 1;
    bool bias = true;
  };

  graph::ValueId weights(const std::string& name, const std::vector<std::int64_t>& dims,
                         const Planted& planted) {
    Tensor w = random_tensor(Shape(dims), ++seed_, -0.5F, 0.5F);
    const std::int64_t each = w.elements() / dims[0];
    for (const auto& [row, constant] : planted) std::fill_n(w.data<float>().begin() + row * each, each, 0.0F);
    return constant(name, std::move(w));
  }
  graph::ValueId bias(const std::string& name, std::int64_t count, const Planted& planted) {
    Tensor b = random_tensor(Shape{count}, ++seed_, -0.5F, 0.5F);
    for (const auto& [row, constant] : planted) b.data<float>()[static_cast<std::size_t>(row)] = constant;
    return constant(name, std::move(b));
  }

  graph::ValueId conv(const std::string& name, graph::ValueId x, std::int64_t out, std::int64_t in,
                      const Planted& planted, ConvOptions o) {
    return conv_of(name, x, weights(name + ".w", {out, in / o.group, o.kernel, o.kernel}, planted),
                   o.bias ? bias(name + ".b", out, planted) : graph::kNoValue, o);
  }
  graph::ValueId conv(const std::string& name, graph::ValueId x, std::int64_t out, std::int64_t in,
                      const Planted& planted = {}) {
    return conv(name, x, out, in, planted, ConvOptions());
  }
  graph::ValueId conv_of(const std::string& name, graph::ValueId x, graph::ValueId w, graph::ValueId b,
                         ConvOptions o) {
    std::vector<graph::ValueId> inputs = {x, w};
    if (b != graph::kNoValue) inputs.push_back(b);
    return op("Conv", name, inputs,
              {{"kernel_shape", std::vector<std::int64_t>{o.kernel, o.kernel}},
               {"pads", std::vector<std::int64_t>{o.pad, o.pad, o.pad, o.pad}},
               {"strides", std::vector<std::int64_t>{o.stride, o.stride}},
               {"group", o.group}});
  }
  graph::ValueId relu(graph::ValueId x) { return op("Relu", graph().value(x).name + ".relu", {x}); }
  graph::ValueId gemm(const std::string& name, graph::ValueId x, std::int64_t out, std::int64_t in,
                      const Planted& planted = {}) {
    return op("Gemm", name, {x, weights(name + ".w", {out, in}, planted), bias(name + ".b", out, planted)},
              {{"transB", std::int64_t{1}}});
  }

  [[nodiscard]] Model model() const { return Model(std::make_shared<const graph::Graph>(graph())); }

  /// A one-channel-per-layer end that shows everything: global mean, then a Gemm.
  void finish(graph::ValueId x, std::int64_t channels) {
    const auto mean = op("GlobalAveragePool", "mean", {x});
    output(gemm("scores", op("Flatten", "flat", {mean}), 3, channels));
  }

 private:
  std::uint64_t seed_ = 0;
};

/// Prunes by the weights alone, without measuring.
inline surgery::Removal removal_of(const NetBuilder& net, std::int64_t multiple = 1) {
  return surgery::remove_channels(net.graph(), {}, {.multiple = multiple});
}

/// Outputs of both graphs on random input, by the references, are the same to rounding, or to the bit.
inline void check_same(const graph::Graph& before, const graph::Graph& after, int trials = 2,
                       bool exactly = false) {
  for (int trial = 0; trial < trials; ++trial) {
    std::map<std::string, Tensor> inputs;
    for (const graph::ValueId id : before.inputs) {
      std::vector<std::int64_t> dims;
      for (const graph::Dim& dim : *before.value(id).dims) dims.push_back(dim.size < 0 ? 2 : dim.size);
      inputs.emplace(before.value(id).name,
                     random_tensor(Shape(dims), static_cast<std::uint64_t>(trial * 31 + 7), -2.0F, 2.0F));
    }
    const std::vector<Tensor> expected = ops::interpret(before, inputs);
    const std::vector<Tensor> actual = ops::interpret(after, inputs);
    REQUIRE(expected.size() == actual.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      float largest = 1.0F;
      for (const float value : expected[i].data<float>()) largest = std::max(largest, std::abs(value));
      const double allowed = exactly ? 0.0 : 1e-5;
      const double wrong =
          mismatch(actual[i].view(), expected[i].view(), allowed * static_cast<double>(largest), allowed);
      CHECK_MESSAGE(wrong <= 1.0, "output " << i << " is off by " << wrong);
    }
  }
}

/// The removed channels of a value, ascending.
inline std::vector<std::int64_t> removed_from(const surgery::Removal& removal, const std::string& tensor,
                                              int axis) {
  for (const ChannelMap& map : removal.map) {
    if (map.tensor != tensor || map.axis != axis || map.group >= 0) continue;
    std::vector<std::int64_t> removed;
    for (std::int64_t i = 0; i < map.before; ++i) {
      if (std::ranges::find(map.kept, i) == map.kept.end()) removed.push_back(i);
    }
    return removed;
  }
  return {};
}

/// Why a channel of a value was kept; empty when it is not listed.
inline std::string kept_because(const surgery::Removal& removal, const std::string& value,
                                std::int64_t index) {
  for (const KeptChannel& kept : removal.kept) {
    if (kept.value == value && kept.index == index) return kept.holder + ": " + kept.why;
  }
  return "";
}

inline Shape shape_of(const graph::Graph& graph, const std::string& constant) {
  return graph.constant(graph.find_value(constant))->shape();
}

}  // namespace ember::test
