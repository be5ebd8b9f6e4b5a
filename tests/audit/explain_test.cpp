#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/audit.hpp>
#include <ember/explain.hpp>
#include <ember/report.hpp>

#include "support/graph_builder.hpp"
#include "support/memory_samples.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using graph::NodeId;
using graph::ValueId;
using test::GraphBuilder;
using test::MemorySamples;

namespace {

constexpr std::int64_t kSamples = 60;

/// Images in [0, 1).
Tensor images() {
  Tensor data = test::random_tensor({kSamples, 3, 8, 8}, 1);
  for (float& x : data.data<float>()) x = std::abs(x);
  return data;
}

Tensor filled(const Shape& shape, float value) {
  Tensor result(DataType::Float32, shape);
  std::ranges::fill(result.data<float>(), value);
  return result;
}

/// The weights of a channel along an axis of a tensor.
void each_weight(Tensor& weights, int axis, std::int64_t channel,
                 const std::function<void(std::int64_t, float&)>& change) {
  const Shape& shape = weights.shape();
  const std::int64_t inner = shape.elements(axis + 1, shape.rank());
  std::int64_t index = 0;
  for (std::int64_t outer = 0; outer < shape.elements(0, axis); ++outer) {
    for (std::int64_t i = 0; i < inner; ++i) {
      const std::int64_t at = (outer * shape[axis] + channel) * inner + i;
      change(index++, weights.data<float>()[static_cast<std::size_t>(at)]);
    }
  }
}

/// Random weights, in which channels that are not planted fire: their weights have a positive mean.
Tensor weights(const Shape& shape, unsigned seed) {
  Tensor result = test::random_tensor(shape, seed);
  for (float& w : result.data<float>()) w += 0.2F;
  return result;
}

/// Every way to kill a channel, in every kind of producer. Layers "a" to "f".
Model planted() {
  GraphBuilder g;
  const ValueId x = g.input("x", DataType::Float32, {-1, 3, 8, 8});
  const GraphBuilder::Attributes padded = {{"pads", std::vector<std::int64_t>{1, 1, 1, 1}}};

  // a: Conv and BatchNormalization. 0 decayed, 1 collapsed, 2 stale, 3 bias.
  Tensor wa = weights({8, 3, 3, 3}, 2);
  each_weight(wa, 0, 0, [](std::int64_t, float& w) { w = 0.0F; });
  Tensor gamma = filled({8}, 1.0F), beta = filled({8}, 0.1F), mean = filled({8}, 2.0F),
         var = filled({8}, 4.0F);
  beta.data<float>()[0] = -1.0F;
  gamma.data<float>()[1] = 1e-7F;
  beta.data<float>()[1] = -0.5F;
  mean.data<float>()[2] = 60.0F;
  beta.data<float>()[3] = -30.0F;
  const ValueId ya = g.op("Conv", "ya", {x, g.constant("wa", wa)}, padded);
  const ValueId na = g.op("BatchNormalization", "na",
                          {ya, g.constant("gamma", gamma), g.constant("beta", beta), g.constant("mean", mean),
                           g.constant("var", var)});
  const ValueId a = g.op("Relu", "a", {na});

  // b: Conv with bias. 0 sign-dead, 1 bias, 2 starved by a's dead channels, 3 negative alignment, 4 decayed.
  Tensor wb = weights({8, 8, 3, 3}, 3), bb = filled({8}, 0.05F);
  each_weight(wb, 0, 0, [](std::int64_t, float& w) { w = -std::abs(w); });
  bb.data<float>()[0] = -0.01F;
  bb.data<float>()[1] = -500.0F;
  each_weight(wb, 0, 2, [](std::int64_t i, float& w) { w = i / 9 < 4 ? 5.0F : -0.1F; });
  bb.data<float>()[2] = -0.05F;
  each_weight(wb, 0, 3, [](std::int64_t i, float& w) { w = i == 60 ? 1e-3F : -0.5F; });
  bb.data<float>()[3] = 0.0F;
  each_weight(wb, 0, 4, [](std::int64_t, float& w) { w *= 1e-6F; });
  bb.data<float>()[4] = -0.1F;
  const ValueId b =
      g.op("Relu", "b", {g.op("Conv", "yb", {a, g.constant("wb", wb), g.constant("bb", bb)}, padded)});

  // c: depthwise. Every channel behind a dead one of b starves, and 6 has a bias.
  Tensor wc = filled({8, 1, 3, 3}, 0.2F), bc = filled({8}, -0.01F);
  bc.data<float>()[6] = -400.0F;
  GraphBuilder::Attributes depthwise = padded;
  depthwise["group"] = std::int64_t{8};
  const ValueId c =
      g.op("Relu", "c", {g.op("Conv", "yc", {b, g.constant("wc", wc), g.constant("bc", bc)}, depthwise)});

  // d: a residual is added before the activation. 5 bias.
  Tensor wd = weights({8, 8, 1, 1}, 4), bd = filled({8}, 0.5F);
  bd.data<float>()[5] = -900.0F;
  const ValueId yd = g.op("Conv", "yd", {c, g.constant("wd", wd), g.constant("bd", bd)});
  const ValueId d = g.op("Relu", "d", {g.op("Add", "sum", {b, yd})});

  // e: Gemm behind MaxPool and Flatten. 0 bias, 1 sign-dead, 2 starved by d's dead channel.
  const ValueId pooled =
      g.op("MaxPool", "pooled", {d},
           {{"kernel_shape", std::vector<std::int64_t>{4, 4}}, {"strides", std::vector<std::int64_t>{4, 4}}});
  const ValueId flat = g.op("Flatten", "flat", {pooled});
  Tensor we = weights({6, 32}, 5), be = filled({6}, 0.0F);
  be.data<float>()[0] = -4000.0F;
  each_weight(we, 0, 1, [](std::int64_t, float& w) { w = -std::abs(w) - 0.01F; });
  each_weight(we, 0, 2, [](std::int64_t i, float& w) { w = i / 4 == 5 ? 30.0F : -0.01F; });
  const ValueId ye =
      g.op("Gemm", "ye", {flat, g.constant("we", we), g.constant("be", be)}, {{"transB", std::int64_t{1}}});
  const ValueId e = g.op("Relu", "e", {ye});

  // f: MatMul and Add. 1 bias, 2 negative alignment.
  Tensor wf = weights({6, 5}, 6), bf = filled({5}, 0.0F);
  bf.data<float>()[1] = -9000.0F;
  each_weight(wf, 1, 2, [](std::int64_t i, float& w) { w = i == 4 ? 1e-3F : -1.0F; });
  const ValueId yf =
      g.op("Add", "yf", {g.op("MatMul", "mf", {e, g.constant("wf", wf)}), g.constant("bf", bf)});
  const ValueId f = g.op("Relu", "f", {yf});
  g.output(g.op("ReduceSum", "out", {f}, {{"keepdims", std::int64_t{1}}}));
  return Model(std::make_shared<const graph::Graph>(g.graph()));
}

const LayerReport& layer_of(const AuditReport& report, const std::string& value) {
  return *std::ranges::find(report.layers(), value, &LayerReport::value);
}

const ChannelReport& channel_of(const AuditReport& report, const std::string& value, std::int64_t channel) {
  return layer_of(report, value).channels[static_cast<std::size_t>(channel)];
}

AuditReport audit_of(const Model& model, bool explained = true) {
  MemorySamples samples(images());
  AuditOptions options;
  options.explain = explained;
  return audit(model, samples, options);
}

Model with(const Model& model, const std::string& tensor, const std::function<void(Tensor&)>& change) {
  graph::Graph graph = model.graph();
  const ValueId id = graph.find_value(tensor);
  REQUIRE(graph.constant(id) != nullptr);
  Tensor changed = *graph.constant(id);
  change(changed);
  graph.make_constant(id, std::make_shared<const Tensor>(std::move(changed)));
  return Model(std::make_shared<const graph::Graph>(std::move(graph)));
}

void set(Tensor& tensor, std::int64_t channel, double value) {
  tensor.data<float>()[static_cast<std::size_t>(channel)] = static_cast<float>(value);
}

/// What signs alone prove dead is no longer called silent.
bool never_fired(const ChannelReport& channel) {
  return channel.verdict == Verdict::Silent || channel.verdict == Verdict::ProvedDead;
}

/// Everything that reads the value reads it with its dead channels raised to the mean.
Model raised(const Model& model, const std::string& value, const AuditReport& report, double mean) {
  graph::Graph graph = model.graph();
  const LayerReport& layer = layer_of(report, value);
  const ValueId id = graph.find_value(value);
  const auto channels = static_cast<std::int64_t>(layer.channels.size());
  Tensor constant(DataType::Float32, {1, channels, 1, 1});
  for (const ChannelReport& channel : layer.channels) {
    if (never_fired(channel)) set(constant, channel.index, mean);
  }
  const std::vector<NodeId> readers = graph.users(id);
  graph::Node add;
  add.name = "raise";
  add.op = "Add";
  add.inputs = {id, graph.add_constant("raise", std::move(constant))};
  add.outputs = {graph.add_value("raised")};
  const ValueId sum = add.outputs[0];
  graph.add_node(std::move(add));
  for (const NodeId reader : readers) {
    for (std::size_t i = 0; i < graph.node(reader).inputs.size(); ++i) {
      if (graph.node(reader).inputs[i] == id) graph.set_input(reader, static_cast<int>(i), sum);
    }
  }
  graph.sort();
  return Model(std::make_shared<const graph::Graph>(std::move(graph)));
}

/// The network with a channel's counterfactual made true, by the report alone.
Model applied(const Model& model, const AuditReport& report, const std::string& value, std::int64_t channel,
              int weight_axis) {
  const Explanation& why = channel_of(report, value, channel).explanation;
  const Counterfactual& c = why.counterfactual;
  switch (c.edit) {
    case Edit::Bias:
    case Edit::BatchNormScale: return with(model, c.tensor, [&](Tensor& t) { set(t, channel, c.to); });
    case Edit::BatchNormStatistics: {
      const Model moved = with(model, c.tensor, [&](Tensor& t) { set(t, channel, c.to); });
      return with(moved, "var", [&](Tensor& t) { set(t, channel, c.variance_to); });
    }
    case Edit::NegateWeights:
      return with(model, c.tensor, [&](Tensor& t) {
        each_weight(t, weight_axis, channel, [](std::int64_t, float& w) { w = -w; });
      });
    case Edit::UpstreamMeans: {
      REQUIRE(why.starved_by.size() == 1);
      const std::string node = why.starved_by[0].node;
      const auto layer = std::ranges::find(report.layers(), node, &LayerReport::node);
      return raised(model, layer->value, report, why.starved_by[0].mean);
    }
    case Edit::RedrawWeights: {
      // Weights of one's own drawing, of the size that the report names, and nothing added to what they make.
      Model drawn = with(model, c.tensor, [&](Tensor& t) {
        const std::int64_t count = t.elements() / t.shape()[weight_axis];
        const Tensor fresh = test::random_tensor({count}, 77, -0.7F, 1.0F);
        double squares = 0.0;
        for (const float w : fresh.data<float>()) squares += double{w} * double{w};
        each_weight(t, weight_axis, channel, [&](std::int64_t i, float& w) {
          w = static_cast<float>(c.to / std::sqrt(squares)) *
              fresh.data<float>()[static_cast<std::size_t>(i)];
        });
      });
      const std::vector<std::string> added =
          value == "a" ? std::vector<std::string>{"beta", "mean"} : std::vector<std::string>{"b" + value};
      for (const std::string& tensor : added)
        drawn = with(drawn, tensor, [&](Tensor& t) { set(t, channel, 0.0); });
      return drawn;
    }
    default: FAIL("no such change"); return model;
  }
}

}  // namespace

TEST_CASE("each way to kill a channel is named, and its counterfactual is true when applied") {
  struct Death {
    const char* layer;
    std::int64_t channel;
    Cause cause;
    std::vector<std::int64_t> starved_by;
    int weight_axis = 0;
  };
  using enum Cause;
  const Model model = planted();
  const AuditReport report = audit_of(model);
  CHECK(report.explain_samples == kSamples);
  const std::vector<Death> deaths = {{"a", 0, Decayed},
                                     {"a", 1, BatchNormCollapsed},
                                     {"a", 2, BatchNormStale},
                                     {"a", 3, BiasDominated},
                                     {"b", 0, SignDead},
                                     {"b", 1, BiasDominated},
                                     {"b", 2, Starved, {0, 1, 2, 3}},
                                     {"b", 3, NegativeAlignment},
                                     {"b", 4, Decayed},
                                     {"c", 0, Starved, {0}},
                                     {"c", 4, Starved, {4}},
                                     {"c", 6, BiasDominated},
                                     {"d", 5, BiasDominated},
                                     {"e", 0, BiasDominated},
                                     {"e", 1, SignDead},
                                     {"e", 2, Starved, {5}},
                                     {"f", 1, BiasDominated},
                                     {"f", 2, NegativeAlignment, {}, 1}};
  for (const Death& death : deaths) {
    CAPTURE(death.layer);
    CAPTURE(death.channel);
    const ChannelReport& channel = channel_of(report, death.layer, death.channel);
    CHECK(never_fired(channel));
    const Explanation& why = channel.explanation;
    CHECK(std::string(to_string(why.cause)) == to_string(death.cause));
    CHECK(why.remedy != Remedy::None);
    CHECK(why.counterfactual.samples == kSamples);
    CHECK(why.counterfactual.samples_fired > 0);
    CHECK(why.counterfactual.samples_fired_before == 0);
    if (why.cause != death.cause) continue;
    if (!death.starved_by.empty()) {
      REQUIRE(why.starved_by.size() == 1);
      CHECK(why.starved_by[0].channels == death.starved_by);
    }
    const AuditReport after =
        audit_of(applied(model, report, death.layer, death.channel, death.weight_axis), false);
    const ChannelStatistics& fired = channel_of(after, death.layer, death.channel).statistics;
    // The audit folds BatchNormalization, so a value next to 0 may fall on the other side. Weights drawn
    // otherwise fire much the same.
    const std::int64_t apart = why.counterfactual.edit == Edit::RedrawWeights ? kSamples / 10 : 1;
    CHECK(std::abs(fired.samples_fired - why.counterfactual.samples_fired) <= apart);
  }
  // Nothing is said of channels that live.
  for (const LayerReport& layer : report.layers()) {
    for (const ChannelReport& channel : layer.channels) {
      const bool silent = never_fired(channel);
      CHECK((channel.explanation.cause != Cause::None) == silent);
    }
  }
  CHECK(report.findings.empty());
  CHECK(report.notes.empty());
}

TEST_CASE("a dead layer that cuts the network is found, and what follows it starves") {
  const auto build = [](bool bypass) {
    GraphBuilder g;
    const ValueId x = g.input("x", DataType::Float32, {-1, 3, 8, 8});
    const ValueId flat = g.op("Flatten", "flat", {x});
    const ValueId y1 = g.op("MatMul", "m1", {flat, g.constant("w1", weights({192, 4}, 7))});
    const ValueId a = g.op("Relu", "a", {g.op("Add", "y1", {y1, g.constant("b1", filled({4}, -9000.0F))})});
    const ValueId m2 = g.op("MatMul", "m2", {a, g.constant("w2", weights({4, 5}, 8))});
    const ValueId y2 = g.op("Add", "y2", {m2, g.constant("b2", filled({5}, -0.01F))});
    const ValueId b = g.op("Relu", "b", {y2});
    const ValueId last = g.op("MatMul", "m3", {b, g.constant("w3", weights({5, 2}, 9))});
    const ValueId side = g.op("MatMul", "m4", {flat, g.constant("w4", weights({192, 2}, 10))});
    g.output(bypass ? g.op("Add", "out", {last, side}) : last);
    return Model(std::make_shared<const graph::Graph>(g.graph()));
  };
  const AuditReport report = audit_of(build(false));
  REQUIRE(report.findings.size() == 4);
  CHECK(report.findings[0].kind == Finding::Kind::DeadNetwork);
  CHECK(report.findings[0].node == "a_node");
  CHECK(report.findings[0].samples == kSamples);
  CHECK(report.findings[1].kind == Finding::Kind::DeadLayer);
  CHECK(report.findings[1].node == "a_node");
  CHECK(report.findings[1].channels == 4);
  CHECK(report.findings[2].node == "b_node");
  CHECK(report.findings[3].kind == Finding::Kind::Preprocessing);
  for (const ChannelReport& channel : layer_of(report, "a").channels) {
    CHECK(channel.explanation.cause == Cause::BiasDominated);
  }
  for (const ChannelReport& channel : layer_of(report, "b").channels) {
    CHECK(channel.explanation.cause == Cause::Starved);
  }
  // Said before anything else.
  const std::string text = to_text(report);
  CHECK(text.find("The network is dead") < text.find("█"));
  CHECK(text.find("Dead layer a_node") < text.find("█"));
  const AuditReport alive = audit_of(build(true));
  REQUIRE(alive.findings.size() == 3);
  CHECK(alive.findings[0].kind == Finding::Kind::DeadLayer);
}

TEST_CASE("explanations are the same at any thread count, may be left out, and take the samples asked for") {
  const Model model = planted();
  MemorySamples samples(images());
  AuditReport report = audit_of(model, false);
  CHECK(report.explain_samples == 0);
  CHECK(channel_of(report, "a", 3).explanation.cause == Cause::None);
  explain(model, samples, report);
  const std::string one = to_json(report);
  CHECK(to_json(report_from_json(one)) == one);
  CHECK(one == to_json(audit_of(model)));
  explain(model, samples, report, {.threads = 2});
  CHECK(to_json(report) == one);
  explain(model, samples, report, {.samples = 7});
  CHECK(report.explain_samples == 7);
  CHECK(channel_of(report, "a", 3).explanation.counterfactual.samples == 7);
  CHECK_THROWS_AS(explain(model, samples, report, {.samples = -1}), Error);
}

TEST_CASE("a saturated sigmoid and a ReLU6 stuck at 6 are blamed on their bias") {
  GraphBuilder g;
  const ValueId x = g.input("x", DataType::Float32, {-1, 3, 8, 8});
  Tensor b1 = filled({4}, 0.0F), b2 = filled({4}, 0.0F);
  set(b1, 1, 200.0);
  set(b2, 2, 500.0);
  const ValueId y1 =
      g.op("Conv", "y1", {x, g.constant("w1", weights({4, 3, 3, 3}, 11)), g.constant("b1", b1)});
  const ValueId s = g.op("Sigmoid", "s", {y1});
  const ValueId y2 =
      g.op("Conv", "y2", {s, g.constant("w2", filled({4, 4, 3, 3}, 0.1F)), g.constant("b2", b2)});
  g.output(g.op("Clip", "c",
                {y2, g.constant("low", Tensor::scalar(0.0F)), g.constant("high", Tensor::scalar(6.0F))}));
  const Model model(std::make_shared<const graph::Graph>(g.graph()));
  const AuditReport report = audit_of(model);
  for (const auto& [value, channel] : {std::pair{"s", 1}, {"c", 2}}) {
    CAPTURE(value);
    CAPTURE(channel);
    const ChannelReport& stuck = channel_of(report, value, channel);
    CAPTURE(std::string(to_string(stuck.verdict)));
    CAPTURE(stuck.statistics.pre_min);
    CAPTURE(stuck.statistics.pre_max);
    const Explanation& why = stuck.explanation;
    CHECK(why.cause == Cause::BiasDominated);
    CHECK(why.counterfactual.samples_fired > 0);
    CHECK(why.counterfactual.samples_fired_before == 0);
  }
}
