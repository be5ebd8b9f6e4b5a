#include "audit/fingerprint.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/sha256.hpp"

namespace ember::auditing {

namespace {

using graph::Graph;
using graph::Node;
using graph::ValueId;

constexpr std::size_t kDigits = 16;

std::string digest(std::string_view text) {
  return sha256_hex(std::as_bytes(std::span(text))).substr(0, kDigits);
}

std::string describe(const Tensor& tensor) {
  return fmt::format("{}[{}]", to_string(tensor.type()), fmt::join(tensor.shape(), ","));
}

std::string describe(const graph::Attribute& attribute) {
  return std::visit(
      [](const auto& value) -> std::string {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::shared_ptr<const Tensor>>) return describe(*value);
        else if constexpr (std::is_same_v<T, std::shared_ptr<const Graph>>) return "graph";
        else return fmt::format("{}", value);
      },
      attribute);
}

/// Tells apart what has the same digest by how often it has come before.
std::string numbered(const std::string& base, std::map<std::string, int>& seen) {
  const int before = seen[base]++;
  return before == 0 ? base : digest(fmt::format("{} {}", base, before));
}

std::int64_t integer(const Node& node, std::string_view name, std::int64_t otherwise) {
  const auto found = node.attributes.find(name);
  if (found == node.attributes.end()) return otherwise;
  const auto* value = std::get_if<std::int64_t>(&found->second);
  return value != nullptr ? *value : otherwise;
}

/// Operators that mix all channels of what they read: nothing before them belongs to one channel.
bool mixes(const Node& node) {
  return node.op.find("Conv") != std::string::npos || node.op.find("MatMul") != std::string::npos ||
         node.op == "Gemm" || node.op == "Einsum" || node.op == "LSTM" || node.op == "GRU" ||
         node.op == "RNN";
}

/// The axis of a constant input along which the node's output channels lie, or -1.
int channel_axis(const Node& node, std::size_t input, const Tensor& tensor, std::int64_t channels) {
  const Shape& shape = tensor.shape();
  int axis = -1;
  if (input == 1 && node.op == "Conv") {
    axis = 0;
  } else if (input == 1 && node.op == "ConvTranspose") {
    axis = integer(node, "group", 1) == 1 ? 1 : -1;
  } else if (input == 1 && node.op == "Gemm") {
    axis = integer(node, "transB", 0) != 0 ? 0 : 1;
  } else if (input == 1 && node.op == "MatMul") {
    axis = shape.rank() - 1;
  } else if (tensor.elements() == channels) {
    axis = static_cast<int>(std::ranges::find(shape, channels) - shape.begin());
  }
  return axis >= 0 && axis < shape.rank() && shape[axis] == channels ? axis : -1;
}

void add_slice(Sha256& hash, const Tensor& tensor, int axis, std::int64_t channel) {
  const Shape& shape = tensor.shape();
  const std::size_t row =
      static_cast<std::size_t>(shape.elements(axis + 1, shape.rank())) * size_of(tensor.type());
  const auto* bytes = static_cast<const std::byte*>(tensor.raw());
  for (std::int64_t outer = 0; outer < shape.elements(0, axis); ++outer) {
    hash.update({bytes + static_cast<std::size_t>(outer * shape[axis] + channel) * row, row});
  }
}

}  // namespace

Fingerprinter::Fingerprinter(const Graph& graph, const std::vector<ops::ActivationPattern>& patterns)
    : graph_(graph), patterns_(patterns), values_(graph.value_count()) {
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    values_[static_cast<std::size_t>(graph.inputs[i])] = fmt::format("input {}", i);
  }
  for (const graph::NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const std::string made = structure(node);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == graph::kNoValue) continue;
      values_[static_cast<std::size_t>(node.outputs[i])] = fmt::format("{}:{}", made, i);
    }
  }
  std::map<std::string, int> seen;
  for (const ops::ActivationPattern& pattern : patterns) {
    layers_.push_back(numbered(digest(values_[static_cast<std::size_t>(pattern.output)]), seen));
  }
}

std::string Fingerprinter::structure(const Node& node) const {
  std::string text = fmt::format("{}:{}", node.domain, node.op);
  for (const auto& [name, attribute] : node.attributes) {
    text += fmt::format(" {}={}", name, describe(attribute));
  }
  for (const std::vector<ValueId>* read : {&node.inputs, &node.captures}) {
    for (const ValueId id : *read) {
      const Tensor* constant = graph_.constant(id);
      text += " (";
      if (constant != nullptr) text += describe(*constant);
      else if (id != graph::kNoValue) text += values_[static_cast<std::size_t>(id)];
      text += ')';
    }
  }
  return digest(text);
}

std::vector<Fingerprinter::Weight> Fingerprinter::weights_of(ValueId value, std::int64_t channels) const {
  std::set<ValueId> ends;  // what other activations make belongs to them
  for (const ops::ActivationPattern& pattern : patterns_) ends.insert(pattern.output);
  std::vector<Weight> weights;
  std::set<ValueId> seen;
  std::vector<ValueId> waiting = {value};
  while (!waiting.empty()) {
    const ValueId id = waiting.back();
    waiting.pop_back();
    if (id == graph::kNoValue || ends.contains(id) || !seen.insert(id).second) continue;
    const graph::NodeId producer = graph_.value(id).producer;
    if (producer == graph::kNoNode) continue;
    const Node& node = graph_.node(producer);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const Tensor* constant = graph_.constant(node.inputs[i]);
      if (constant != nullptr) weights.push_back({constant, channel_axis(node, i, *constant, channels)});
      else if (!mixes(node)) waiting.push_back(node.inputs[i]);
    }
  }
  return weights;
}

std::vector<std::string> Fingerprinter::channels(std::size_t pattern, std::int64_t channels) const {
  const ops::ActivationPattern& activation = patterns_[pattern];
  std::vector<Weight> weights = weights_of(activation.input, channels);
  for (const graph::NodeId id : activation.nodes) {  // the slopes of a PRelu are the channel's too
    for (const ValueId input : graph_.node(id).inputs) {
      const Tensor* constant = graph_.constant(input);
      if (constant == nullptr) continue;
      weights.push_back({constant, channel_axis(graph_.node(id), 2, *constant, channels)});
    }
  }
  Sha256 shared;
  const std::string& path = values_[static_cast<std::size_t>(activation.output)];
  shared.update(std::as_bytes(std::span(path)));
  for (const Weight& weight : weights) {
    if (weight.axis >= 0) continue;
    shared.update({static_cast<const std::byte*>(weight.tensor->raw()), weight.tensor->bytes()});
  }
  const std::string common = shared.hex();
  std::vector<std::string> result;
  std::map<std::string, int> seen;
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    Sha256 hash;
    hash.update(std::as_bytes(std::span(common)));
    for (const Weight& weight : weights) {
      if (weight.axis >= 0) add_slice(hash, *weight.tensor, weight.axis, channel);
    }
    result.push_back(numbered(hash.hex().substr(0, kDigits), seen));
  }
  return result;
}

}  // namespace ember::auditing
