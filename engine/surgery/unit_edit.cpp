#include "surgery/unit_edit.hpp"

#include <cstddef>
#include <vector>

#include "ops/op.hpp"
#include "surgery/unit_draw.hpp"

namespace ember::surgery {

LayerEditor::LayerEditor(graph::Graph& graph, ConstantEditor& editor, const LinearProducer& producer)
    : graph_(graph), editor_(editor), producer_(producer) {
  weight_ = editor.own(producer.node, 1);
  bias_ = ensure_bias(graph, editor, producer);
  if (!normalised()) return;
  scale_ = editor.own(producer.norm, 1);
  mean_ = editor.own(producer.norm, 3);
  variance_ = editor.own(producer.norm, 4);
}

double LayerEditor::epsilon() const {
  return static_cast<double>(ops::NodeContext(graph_, producer_.norm).real("epsilon", 1e-5F));
}

void LayerEditor::touch_weights(std::int64_t channel) {
  touched_.insert({.tensor = graph_.value(weight_).name,
                   .axis = producer_.weight_axis,
                   .index = channel % (producer_.channels / producer_.groups)});
}

void LayerEditor::write_weights(std::int64_t channel, std::span<const float> weights) {
  const std::span<float> to = editor_.floats(weight_);
  std::size_t next = 0;
  producer_.for_each_weight(channel, [&](std::size_t at) { to[at] = weights[next++]; });
  touch_weights(channel);
}

void LayerEditor::set(graph::ValueId value, std::int64_t channel, double number) {
  editor_.floats(value)[static_cast<std::size_t>(channel)] = static_cast<float>(number);
  const Shape& shape = graph_.constant(value)->shape();
  int axis = 0;
  while (axis + 1 < shape.rank() && shape[axis] == 1) ++axis;
  touched_.insert({.tensor = graph_.value(value).name, .axis = axis, .index = channel});
}

void LayerEditor::write(std::int64_t channel, std::span<const float> weights, double bias) {
  write_weights(channel, weights);
  set(bias_.value, channel, bias);
}

void LayerEditor::write_normalised(std::int64_t channel, std::span<const float> weights, double bias,
                                   double mean, double variance) {
  write(channel, weights, bias);
  set(scale_, channel, 1);
  set(mean_, channel, mean);
  set(variance_, channel, variance);
}

void LayerEditor::copy(std::int64_t from, std::int64_t to) {
  const std::span<float> weights = editor_.floats(weight_);
  std::vector<float> copied;
  producer_.for_each_weight(from, [&](std::size_t at) { copied.push_back(weights[at]); });
  write_weights(to, copied);
  const auto copy_one = [&](graph::ValueId value) {
    set(value, to, static_cast<double>(editor_.floats(value)[static_cast<std::size_t>(from)]));
  };
  // There may be a bias in several places; all are the channel's.
  std::set<graph::ValueId> biases = {bias_.value};
  const auto add = [&](graph::NodeId node, int input) {
    if (graph_.node(node).inputs[static_cast<std::size_t>(input)] == graph::kNoValue) return;
    const graph::ValueId value = editor_.own(node, input);
    if (graph_.constant(value)->elements() == producer_.channels) biases.insert(value);
  };
  if (graph_.node(producer_.node).inputs.size() > 2) add(producer_.node, 2);
  if (producer_.bias_add != graph::kNoNode) add(producer_.bias_add, producer_.bias_input);
  for (const graph::ValueId bias : biases) copy_one(bias);
  if (!normalised()) return;
  copy_one(scale_);
  copy_one(mean_);
  copy_one(variance_);
}

namespace {

void touch_input(const graph::Graph& graph, const ChannelReader& reader, graph::ValueId weight,
                 std::set<TouchedSlice>& touched) {
  const std::string& name = graph.value(weight).name;
  const bool depthwise = reader.grouped && reader.output_is_outer && reader.inputs == 1;
  if (depthwise) {  // the channel's weights are whole rows
    for (std::int64_t row = reader.first; row < reader.end; ++row) {
      touched.insert({.tensor = name, .axis = 0, .index = row});
    }
    return;
  }
  for (const std::int64_t at : reader.at) {
    touched.insert({.tensor = name, .axis = reader.input_axis, .index = at - reader.shift});
  }
}

}  // namespace

void take_out(graph::Graph& graph, ConstantEditor& editor, const ChannelReader& reader,
              std::set<TouchedSlice>& touched) {
  const graph::ValueId weight = editor.own(reader.node, 1);
  const std::span<float> weights = editor.floats(weight);
  std::vector<double> sums(static_cast<std::size_t>(reader.outputs), 0.0);
  reader.for_each_weight([&](std::size_t element, std::int64_t output) {
    sums[static_cast<std::size_t>(output)] += static_cast<double>(weights[element]);
    weights[element] = 0;
  });
  touch_input(graph, reader, weight, touched);
  if (reader.constant == 0) return;
  const LinearProducer layer{
      .node = reader.node, .channels = reader.outputs, .bias_factor = reader.bias_factor};
  const BiasSite bias = ensure_bias(graph, editor, layer);
  const std::span<float> values = editor.floats(bias.value);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    values[i] = static_cast<float>(static_cast<double>(values[i]) +
                                   reader.constant * reader.factor * sums[i] / bias.factor);
  }
}

void share_out(graph::Graph& graph, ConstantEditor& editor, const ChannelReader& donor,
               const ChannelReader& heir, std::mt19937_64& generator, std::set<TouchedSlice>& touched) {
  const graph::ValueId weight = editor.own(donor.node, 1);
  const std::span<float> weights = editor.floats(weight);
  std::vector<double> parts(static_cast<std::size_t>(donor.outputs));
  // Unequal parts: with halves the two would get the same gradient for ever.
  for (double& part : parts) part = 0.25 + 0.5 * draw_unit(generator);
  std::vector<std::size_t> to;
  heir.for_each_weight([&](std::size_t element, std::int64_t /*output*/) { to.push_back(element); });
  std::size_t next = 0;
  donor.for_each_weight([&](std::size_t element, std::int64_t output) {
    const float whole = weights[element];
    const auto part =
        static_cast<float>(static_cast<double>(whole) * parts[static_cast<std::size_t>(output)]);
    weights[to[next++]] = part;
    weights[element] = whole - part;
  });
  touch_input(graph, donor, weight, touched);
  touch_input(graph, heir, weight, touched);
}

}  // namespace ember::surgery
