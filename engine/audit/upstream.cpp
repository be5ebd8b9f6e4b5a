#include "audit/upstream.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>
#include <utility>

namespace ember::auditing {

namespace {

using graph::Graph;
using graph::kNoNode;
using graph::kNoValue;
using graph::Node;
using graph::NodeId;
using graph::ValueId;

/// The values that a producer reads, the residual included.
std::vector<ValueId> read_by(const Graph& graph, const Producer& producer) {
  std::set<ValueId> own;
  for (const NodeId id : producer.nodes)
    own.insert(graph.node(id).outputs.begin(), graph.node(id).outputs.end());
  std::vector<ValueId> read;
  for (const NodeId id : producer.nodes) {
    for (const ValueId input : graph.node(id).inputs) {
      if (input != kNoValue && graph.constant(input) == nullptr && !own.contains(input))
        read.push_back(input);
    }
  }
  return read;
}

double mean_output(const ChannelStatistics& s) {
  const std::int64_t finite = s.positions - s.not_finite;
  return finite > 0 ? s.out_sum / static_cast<double>(finite) : 0.0;
}

double pre_deviation(const ChannelStatistics& s) {
  const auto finite = static_cast<double>(s.positions - s.not_finite);
  if (finite <= 0) return 0.0;
  const double mean = s.pre_sum / finite;
  return std::sqrt(std::max(0.0, s.pre_sum_squares / finite - mean * mean));
}

Upstream describe(const LayerReport& layer, std::size_t index, ValueId output) {
  Upstream upstream{.layer = index, .output = output};
  double live_sum = 0.0;
  double deviation_sum = 0.0;
  for (const ChannelReport& channel : layer.channels) {
    deviation_sum += pre_deviation(channel.statistics);
    if (never_fired(channel)) upstream.dead.push_back(channel.index);
    else live_sum += mean_output(channel.statistics);
  }
  const std::size_t live = layer.channels.size() - upstream.dead.size();
  upstream.wholly_dead = live == 0;
  if (live > 0) {
    upstream.mean = live_sum / static_cast<double>(live);
  } else {
    // What a rectified normal variable of the same spread would have; 1 when nothing varies.
    constexpr double kRectifiedMean = 0.3989422804;
    const double deviation =
        deviation_sum / std::max<double>(1.0, static_cast<double>(layer.channels.size()));
    upstream.mean = deviation > 0.0 ? kRectifiedMean * deviation : 1.0;
  }
  return upstream;
}

/// Where an activation's channels lie in a value of its shape.
int axis_in(const LayerReport& layer, const Shape& shape) {
  return shape.rank() == 0 ? 0 : std::min(layer.channel_axis, shape.rank() - 1);
}

/// How many weights of a row belong to one input channel of the producer.
struct Reading {
  std::int64_t inputs = 0;  ///< input channels per group
  std::int64_t each = 1;    ///< weights of a row per input channel
};

Reading reading_of(const Graph& graph, const Producer& producer) {
  const Node& node = graph.node(producer.linear);
  const Shape& shape = graph.constant(node.inputs[1])->shape();
  if (node.op == "Conv") return {shape[1], shape.elements(2, shape.rank())};
  if (node.op == "ConvTranspose") return {shape[0], shape.elements(2, shape.rank())};
  return {shape[1 - producer.axis], 1};
}

/// Channels keep their order on the way, or become runs of columns.
bool keeps_channels(const Graph& graph, const std::vector<NodeId>& between) {
  static constexpr std::array<std::string_view, 13> kKeeping = {
      "MaxPool",  "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Flatten",
      "Reshape",  "Identity",    "Dropout",           "Pad",           "Resize",
      "Upsample", "Squeeze",     "BatchNormalization"};
  return std::ranges::all_of(
      between, [&](NodeId id) { return std::ranges::find(kKeeping, graph.node(id).op) != kKeeping.end(); });
}

}  // namespace

bool never_fired(const ChannelReport& channel) {
  return channel.verdict == Verdict::Silent || channel.verdict == Verdict::ProvedDead ||
         channel.verdict == Verdict::Refuted;
}

std::optional<Upstreams> find_upstreams(const Graph& graph, const Producer& producer,
                                        const std::map<ValueId, std::size_t>& activations,
                                        const AuditReport& report) {
  constexpr std::size_t kMost = 64;  // nodes that are worth copying
  Upstreams result;
  result.all_dead = true;
  std::set<ValueId> seen;
  std::vector<ValueId> waiting = read_by(graph, producer);
  while (!waiting.empty()) {
    const ValueId value = waiting.back();
    waiting.pop_back();
    if (!seen.insert(value).second) continue;
    if (const auto found = activations.find(value); found != activations.end()) {
      Upstream upstream = describe(report.layers()[found->second], found->second, value);
      result.all_dead = result.all_dead && upstream.wholly_dead;
      if (!upstream.dead.empty()) result.layers.push_back(std::move(upstream));
      continue;
    }
    const NodeId id = graph.value(value).producer;
    if (id == kNoNode) {
      result.all_dead = false;  // the network's input
      continue;
    }
    const Node& node = graph.node(id);
    if (!node.captures.empty() || node.outputs.size() != 1 || result.between.size() == kMost)
      return std::nullopt;
    result.between.push_back(id);
    for (const ValueId input : node.inputs) {
      if (input != kNoValue && graph.constant(input) == nullptr) waiting.push_back(input);
    }
  }
  std::ranges::sort(result.layers, {}, &Upstream::layer);
  return result;
}

std::vector<TwinGraph::Addition> raised(const Upstreams& upstreams, const ShapedNetwork& network,
                                        const AuditReport& report) {
  std::vector<TwinGraph::Addition> additions;
  for (const Upstream& upstream : upstreams.layers) {
    const Shape* shape = network.shape(upstream.output);
    const LayerReport& layer = report.layers()[upstream.layer];
    if (shape == nullptr) return {};
    const int axis = axis_in(layer, *shape);
    const auto channels = static_cast<std::int64_t>(layer.channels.size());
    if (shape->rank() == 0 || (*shape)[axis] != channels) return {};
    std::vector<std::int64_t> dims(static_cast<std::size_t>(shape->rank()), 1);
    dims[static_cast<std::size_t>(axis)] = channels;
    Tensor constant(DataType::Float32, Shape(dims));
    for (const std::int64_t channel : upstream.dead) {
      constant.data<float>()[static_cast<std::size_t>(channel)] = static_cast<float>(upstream.mean);
    }
    additions.push_back({upstream.output, std::move(constant)});
  }
  return additions;
}

std::vector<StarvedBy> starving(const Upstreams& upstreams, const ShapedNetwork& network,
                                const Producer& producer, const AuditReport& report, std::int64_t channel) {
  const Reading reading = reading_of(network.graph, producer);
  const std::vector<float> row = producer.row(network.graph, channel);
  const std::int64_t group = channel / std::max<std::int64_t>(1, producer.channels / producer.groups);
  const double sign = producer.scale[static_cast<std::size_t>(channel)];
  const bool known = keeps_channels(network.graph, upstreams.between);
  std::vector<StarvedBy> result;
  for (const Upstream& upstream : upstreams.layers) {
    const LayerReport& layer = report.layers()[upstream.layer];
    const auto channels = static_cast<std::int64_t>(layer.channels.size());
    const std::int64_t inputs = reading.inputs * producer.groups;
    // Columns per channel after a Flatten; 0: not known which they are.
    std::int64_t columns = known && inputs % channels == 0 ? inputs / channels : 0;
    if (columns > 1 && layer.channel_axis != 1) columns = 0;
    StarvedBy starved{.node = layer.node, .mean = upstream.mean};
    for (const std::int64_t dead : upstream.dead) {
      double pushes = 0.0;
      for (std::int64_t i = dead * columns; i < (dead + 1) * columns; ++i) {
        if (i / reading.inputs != group) continue;
        const std::int64_t first = i % reading.inputs * reading.each;
        for (std::int64_t k = first; k < first + reading.each; ++k)
          pushes += row[static_cast<std::size_t>(k)];
      }
      if (columns == 0 || pushes * sign * upstream.mean > 0.0) starved.channels.push_back(dead);
    }
    if (!starved.channels.empty()) result.push_back(std::move(starved));
  }
  return result;
}

}  // namespace ember::auditing
