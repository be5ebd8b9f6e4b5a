#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "audit/channel_watch.hpp"
#include "core/subnormals.hpp"
#include "ops/activation_pattern.hpp"
#include "plan/plan.hpp"
#include "runtime/execution.hpp"
#include "runtime/threads.hpp"
#include "support/compiled.hpp"
#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"

// Statistics that a step gathers while it applies an activation, against those of the value as it is.

using namespace ember;
using auditing::ChannelWatch;
using test::GraphBuilder;
using Ints = std::vector<std::int64_t>;

namespace {

enum class Way : std::uint8_t { Shown, Gathered, Counted };

/// A network whose input is x, with a batch that a run decides.
struct Net {
  std::string name;
  Ints sample;  ///< extents of one sample
  std::function<graph::ValueId(GraphBuilder&, graph::ValueId)> build;
};

/// What one way of watching saw of every activation, and what the network made of it.
struct Seen {
  std::vector<auditing::LayerTotals> layers;
  std::vector<float> output;
  std::vector<std::string> steps;
};

/// Runs `samples` in batches of `batch`; the last may hold fewer that count.
Seen watch(const Net& net, const Tensor& input, std::int64_t batch, simd::Isa isa, int threads, Way way) {
  GraphBuilder builder;
  Ints dims = {-1};
  dims.insert(dims.end(), net.sample.begin(), net.sample.end());
  builder.output(net.build(builder, builder.input("x", DataType::Float32, dims)));
  const std::vector<ops::ActivationPattern> patterns = ops::find_activations(builder.graph());
  dims[0] = batch;
  plan::PlanOptions options;
  options.isa = isa;
  options.input_shapes = plan::resolve_input_shapes(builder.graph(), {{"x", Shape(dims)}});
  const std::int64_t samples = input.shape()[0];
  std::vector<std::unique_ptr<ChannelWatch>> watches;
  std::vector<runtime::Probe*> probes;
  for (const ops::ActivationPattern& pattern : patterns) {
    watches.push_back(std::make_unique<ChannelWatch>(pattern.function, false, 2, samples));
    if (way == Way::Counted) watches.back()->count_only();
    probes.push_back(watches.back().get());
    options.probes.push_back({.value = builder.graph().value(pattern.input).name,
                              .watch = way == Way::Shown ? std::nullopt : watches.back()->rule()});
  }
  const auto compiled = test::compiled(builder.graph(), options);
  runtime::Execution execution(compiled, threads);
  ThreadArena arena(threads);
  runtime::ArenaParallel parallel(threads);
  Seen seen;
  for (const plan::PlannedStep& step : compiled->steps) seen.steps.push_back(step.implementation);
  const std::int64_t per_sample = input.shape().elements(1, input.shape().rank());
  for (std::int64_t at = 0; at < samples; at += batch) {
    const std::int64_t used = std::min(batch, samples - at);
    const auto values = input.data<float>().subspan(static_cast<std::size_t>(at * per_sample),
                                                    static_cast<std::size_t>(used * per_sample));
    std::ranges::copy(values, execution.input(0).data<float>().begin());
    for (const auto& each : watches) each->expect(batch, used, at);
    const FlushSubnormals flush;
    arena.get().execute([&] { execution.run(parallel, probes, nullptr); });
    const auto output = execution.output(0).data<float>();
    seen.output.insert(seen.output.end(), output.begin(),
                       output.begin() + static_cast<std::ptrdiff_t>(output.size()) / batch * used);
  }
  for (const auto& each : watches) seen.layers.push_back(each->totals());
  return seen;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(a, b,
                            [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

std::array<double, 5> sums(const ChannelStatistics& s) {
  return {s.pre_sum, s.pre_sum_squares, s.out_sum, s.out_sum_squares, s.out_sum_abs};
}

/// "" when they agree: counts and extremes to the bit, sums to rounding.
std::string difference(const Seen& got, const Seen& want, bool counts_only, double rounding) {
  if (!same_bits(got.output, want.output)) return "outputs";
  for (std::size_t layer = 0; layer < want.layers.size(); ++layer) {
    if (got.layers[layer].channels.size() != want.layers[layer].channels.size()) return "channels";
    for (std::size_t c = 0; c < want.layers[layer].channels.size(); ++c) {
      const ChannelStatistics g = got.layers[layer].statistics(static_cast<std::int64_t>(c));
      const ChannelStatistics w = want.layers[layer].statistics(static_cast<std::int64_t>(c));
      const std::string where = fmt::format("layer {} channel {}: ", layer, c);
      if (g.samples != w.samples || g.positions != w.positions) return where + "samples";
      if (g.samples_fired != w.samples_fired || g.positions_fired != w.positions_fired ||
          g.first_fired != w.first_fired)
        return where + fmt::format("fired {} {} not {} {}", g.samples_fired, g.positions_fired,
                                   w.samples_fired, w.positions_fired);
      if (counts_only) continue;
      if (g.not_finite != w.not_finite) return where + "not finite";
      if (g.samples_saturated != w.samples_saturated || g.positions_saturated != w.positions_saturated)
        return where + "saturated";
      if (g.pre_min != w.pre_min || g.pre_max != w.pre_max) return where + "range before";
      if (g.out_min != w.out_min || g.out_max != w.out_max) return where + "range after";
      const auto sums_got = sums(g);
      const auto sums_want = sums(w);
      const double scale = rounding * (1.0 + std::max(w.pre_sum_squares, w.out_sum_squares) +
                                       static_cast<double>(w.positions));
      for (std::size_t i = 0; i < sums_want.size(); ++i) {
        if (sums_got[i] != sums_want[i] && !(std::abs(sums_got[i] - sums_want[i]) <= scale))
          return where + fmt::format("sum {}: {} not {}", i, sums_got[i], sums_want[i]);
      }
    }
  }
  return "";
}

Tensor biases(std::int64_t channels) {
  Tensor result = test::random_tensor({channels}, 3, -0.5F, 0.5F);
  // Some never fire, some always do.
  result.data<float>()[0] = -100.0F;
  if (channels > 1) result.data<float>()[1] = 100.0F;
  return result;
}

graph::ValueId conv(GraphBuilder& b, graph::ValueId x, const std::string& name, const Ints& filters,
                    Ints pads, Ints strides = {1, 1}, std::int64_t group = 1) {
  const auto w = b.constant(name + "_w", test::random_tensor(Shape(filters), 2, -0.2F, 0.2F));
  const auto bias = b.constant(name + "_b", biases(filters[0]));
  return b.op("Conv", name, {x, w, bias},
              {{"pads", std::move(pads)}, {"strides", std::move(strides)}, {"group", group}});
}

using Activate = std::function<graph::ValueId(GraphBuilder&, const std::string&, graph::ValueId)>;

graph::ValueId relu(GraphBuilder& b, const std::string& name, graph::ValueId x) {
  return b.op("Relu", name, {x});
}
graph::ValueId clip(GraphBuilder& b, const std::string& name, graph::ValueId x, float low, float high) {
  return b.op("Clip", name,
              {x, b.constant(name + "_low", Tensor(Shape{}, std::vector<float>{low})),
               b.constant(name + "_high", Tensor(Shape{}, std::vector<float>{high}))});
}
graph::ValueId relu6(GraphBuilder& b, const std::string& name, graph::ValueId x) {
  return clip(b, name, x, 0.0F, 6.0F);
}

std::vector<Net> nets(const Activate& act) {
  const auto single = [&](const std::string& name, Ints sample, Ints filters, Ints pads,
                          Ints strides = {1, 1}, std::int64_t group = 1) {
    return Net{name, std::move(sample), [=](GraphBuilder& b, graph::ValueId x) {
                 return act(b, "y", conv(b, x, "pre", filters, pads, strides, group));
               }};
  };
  const auto inverted_residual = [&](const std::string& name, Ints sample, std::int64_t wide, Ints strides,
                                     Ints pads) {
    const std::int64_t narrow = sample[0];
    return Net{name, std::move(sample), [=](GraphBuilder& b, graph::ValueId x) {
                 const auto one = act(b, "one", conv(b, x, "expand", {wide, narrow, 1, 1}, {0, 0, 0, 0}));
                 const auto two =
                     act(b, "two", conv(b, one, "depthwise", {wide, 1, 3, 3}, pads, strides, wide));
                 const auto out = conv(b, two, "project", {narrow, wide, 1, 1}, {0, 0, 0, 0});
                 return act(b, "y", strides[0] == 1 ? b.op("Add", "sum", {out, x}) : out);
               }};
  };
  return {
      single("pointwise", {20, 13, 11}, {37, 20, 1, 1}, {0, 0, 0, 0}),
      single("pointwise in many parts", {96, 40, 40}, {40, 96, 1, 1}, {0, 0, 0, 0}),
      single("one position", {40, 1, 3}, {33, 40, 1, 3}, {0, 0, 0, 0}),
      single("strided", {16, 15, 14}, {32, 16, 3, 3}, {1, 1, 1, 1}, {2, 2}),
      single("few channels", {3, 39, 37}, {24, 3, 3, 3}, {1, 1, 1, 1}, {2, 2}),
      single("depthwise", {21, 12, 13}, {21, 1, 3, 3}, {1, 1, 1, 1}, {1, 1}, 21),
      single("depthwise, strided", {48, 45, 45}, {48, 1, 5, 5}, {2, 2, 2, 2}, {2, 2}, 48),
      single("groups", {32, 9, 9}, {32, 16, 3, 3}, {1, 1, 1, 1}, {1, 1}, 2),
      single("winograd", {64, 26, 27}, {48, 64, 3, 3}, {1, 1, 1, 1}),
      single("winograd of small images", {64, 7, 7}, {64, 64, 3, 3}, {1, 1, 1, 1}),
      {"residual",
       {24, 10, 9},
       [=](GraphBuilder& b, graph::ValueId x) {
         const auto one = act(b, "one", conv(b, x, "pre", {24, 24, 3, 3}, {1, 1, 1, 1}));
         const auto two = conv(b, one, "two", {24, 24, 1, 1}, {0, 0, 0, 0});
         return act(b, "y", b.op("Add", "sum", {two, x}));
       }},
      inverted_residual("chain", {24, 40, 41}, 144, {1, 1}, {1, 1, 1, 1}),
      inverted_residual("chain, strided", {24, 52, 40}, 144, {2, 2}, {1, 1, 1, 1}),
      inverted_residual("chain that never reads the last row", {24, 42, 41}, 144, {2, 2}, {0, 0, 0, 0}),
      {"chain from a few channels",
       {3, 90, 90},
       [=](GraphBuilder& b, graph::ValueId x) {
         const auto one = act(b, "one", conv(b, x, "stem", {80, 3, 3, 3}, {1, 1, 1, 1}, {2, 2}));
         return act(b, "y", conv(b, one, "two", {80, 1, 3, 3}, {1, 1, 1, 1}, {1, 1}, 80));
       }},
      {"before and after a sum",
       {16, 8, 21},
       [=](GraphBuilder& b, graph::ValueId x) {
         const auto one = act(b, "one", conv(b, x, "pre", {16, 16, 3, 3}, {1, 1, 1, 1}));
         return act(b, "y", b.op("Add", "sum", {one, x}));
       }},
  };
}

Tensor samples_of(const Net& net, std::int64_t count, unsigned seed) {
  Ints dims = {count};
  dims.insert(dims.end(), net.sample.begin(), net.sample.end());
  return test::random_tensor(Shape(dims), seed, -2.0F, 2.0F);
}

bool probes(const Seen& seen) { return std::ranges::find(seen.steps, "probe") != seen.steps.end(); }

}  // namespace

TEST_CASE("what convolutions gather in passing is what their values show, on every ISA") {
  for (const auto& act : {Activate(relu), Activate(relu6)}) {
    for (const Net& net : nets(act)) {
      const Tensor input = samples_of(net, 3, 5);
      for (const simd::Isa isa : simd::available_isas()) {
        INFO(net.name, " ", to_string(isa));
        const Seen shown = watch(net, input, 2, isa, 1, Way::Shown);
        const Seen gathered = watch(net, input, 2, isa, 1, Way::Gathered);
        const Seen counted = watch(net, input, 2, isa, 1, Way::Counted);
        CHECK(probes(shown));
        CHECK_FALSE(probes(gathered));
        const bool chained = std::ranges::find(gathered.steps, "conv_chain") != gathered.steps.end();
        CHECK(chained == (net.name.starts_with("chain") && net.name.find("never") == std::string::npos));
        CHECK(difference(gathered, shown, false, 1e-6) == "");
        CHECK(difference(counted, shown, true, 0) == "");
      }
    }
  }
}

TEST_CASE("what is gathered has the same bits at any number of threads and any batch") {
  for (const Net& net : nets(relu)) {
    const Tensor input = samples_of(net, 5, 6);
    for (const simd::Isa isa : simd::available_isas()) {
      INFO(net.name, " ", to_string(isa));
      const Seen one = watch(net, input, 1, isa, 1, Way::Gathered);
      CHECK(difference(watch(net, input, 1, isa, 2, Way::Gathered), one, false, 0) == "");
      CHECK(difference(watch(net, input, 5, isa, 2, Way::Gathered), one, false, 0) == "");
      CHECK(difference(watch(net, input, 2, isa, 1, Way::Gathered), one, false, 0) == "");
      CHECK(difference(watch(net, input, 4, isa, 1, Way::Gathered), one, false, 0) == "");
    }
  }
}

TEST_CASE("every kind of activation is gathered, and values that are not finite are told apart") {
  const auto plain = [](const char* op) {
    return Activate(
        [op](GraphBuilder& b, const std::string& name, graph::ValueId x) { return b.op(op, name, {x}); });
  };
  const std::vector<std::pair<std::string, Activate>> kinds = {
      {"Relu", relu},
      {"Relu6", relu6},
      {"Clip",
       [](GraphBuilder& b, const std::string& name, graph::ValueId x) { return clip(b, name, x, 0.5F, 3); }},
      {"HardTanh",
       [](GraphBuilder& b, const std::string& name, graph::ValueId x) { return clip(b, name, x, -1, 1); }},
      {"LeakyRelu", plain("LeakyRelu")},
      {"Elu", plain("Elu")},
      {"Sigmoid", plain("Sigmoid")},
      {"Tanh", plain("Tanh")},
      {"HardSwish", plain("HardSwish")},
      {"PRelu", [](GraphBuilder& b, const std::string& name, graph::ValueId x) {
         return b.op("PRelu", name, {x, b.constant(name + "_slopes", test::random_tensor({19, 1, 1}, 8))});
       }}};
  for (const auto& [name, act] : kinds) {
    const Net net{name, {18, 9, 10}, [&](GraphBuilder& b, graph::ValueId x) {
                    return act(b, "y", conv(b, x, "pre", {19, 18, 3, 3}, {1, 1, 1, 1}));
                  }};
    Tensor input = samples_of(net, 3, 7);
    for (const bool finite : {true, false}) {
      if (!finite) {
        const auto values = input.data<float>();
        values[100] = std::numeric_limits<float>::quiet_NaN();
        values[900] = std::numeric_limits<float>::infinity();
        values[3000] = -std::numeric_limits<float>::infinity();
        values[4000] = 1e30F;
      }
      for (const simd::Isa isa : simd::available_isas()) {
        INFO(name, " ", to_string(isa), finite ? "" : " not finite");
        const Seen shown = watch(net, input, 3, isa, 1, Way::Shown);
        const Seen gathered = watch(net, input, 3, isa, 1, Way::Gathered);
        CHECK_FALSE(probes(gathered));
        CHECK(difference(gathered, shown, false, finite ? 1e-6 : 1e-5) == "");
        CHECK(difference(watch(net, input, 3, isa, 1, Way::Counted), shown, true, 0) == "");
      }
    }
  }
}

TEST_CASE("what no step can gather is shown, beside what some can") {
  const Net net{"mixed", {12, 6, 6}, [](GraphBuilder& b, graph::ValueId x) {
                  const auto one = relu(b, "one", conv(b, x, "pre", {16, 12, 3, 3}, {1, 1, 1, 1}));
                  const auto scale = b.constant("scale", test::random_tensor({1, 16, 1, 1}, 4));
                  const auto two = relu(b, "two", b.op("Mul", "scaled", {one, scale}));
                  // Many groups whose channels fill no block: the kernel for plain tensors.
                  const auto three =
                      relu(b, "three", conv(b, two, "grouped", {24, 2, 3, 3}, {1, 1, 1, 1}, {1, 1}, 8));
                  return three;
                }};
  const Tensor input = samples_of(net, 4, 9);
  for (const simd::Isa isa : simd::available_isas()) {
    const Seen gathered = watch(net, input, 2, isa, 2, Way::Gathered);
    CHECK(std::ranges::count(gathered.steps, "probe") == 2);
    CHECK(difference(gathered, watch(net, input, 2, isa, 1, Way::Shown), false, 1e-6) == "");
  }
}
