#include "surgery/activation_lookup.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <variant>

#include <fmt/format.h>

#include "ops/typed.hpp"

namespace ember::surgery {

ActivationLookup::ActivationLookup(const graph::Graph& graph,
                                   const std::vector<ops::ActivationPattern>& patterns) {
  for (const ops::ActivationPattern& pattern : patterns) {
    entries_.push_back({.node = graph.label(pattern.nodes.back()),
                        .value = graph.value(pattern.output).name,
                        .pattern = &pattern});
  }
}

const ops::ActivationPattern* ActivationLookup::find(std::string_view node, std::string_view value) const {
  const auto first = [&](auto matches) -> const ops::ActivationPattern* {
    const auto found = std::ranges::find_if(entries_, matches);
    return found == entries_.end() ? nullptr : found->pattern;
  };
  // Node names need not be unique; value names are.
  if (const auto* both = first([&](const Entry& e) { return e.node == node && e.value == value; }))
    return both;
  if (!value.empty()) {
    if (const auto* named = first([&](const Entry& e) { return e.value == value; })) return named;
  }
  if (node.empty()) return nullptr;
  return first([&](const Entry& e) { return e.node == node; });
}

std::string ActivationLookup::listing() const {
  constexpr std::size_t kShown = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, entries_.size()); ++i) {
    text += fmt::format("{}{} ({})", i == 0 ? "" : ", ", entries_[i].node,
                        ops::to_string(entries_[i].pattern->function.kind));
  }
  if (entries_.size() > kShown) text += fmt::format(" and {} more", entries_.size() - kShown);
  return text.empty() ? "none" : text;
}

DataType element_type(const graph::Graph& graph, graph::ValueId value) {
  for (int steps = 0; value != graph::kNoValue && steps < 1000; ++steps) {
    if (graph.value(value).type != DataType::Undefined) return graph.value(value).type;
    if (const Tensor* constant = graph.constant(value)) return constant->type();
    const graph::NodeId id = graph.value(value).producer;
    if (id == graph::kNoNode) break;
    const graph::Node& node = graph.node(id);
    if (node.op == "Cast" || node.inputs.empty()) break;
    value = node.inputs[node.op == "DequantizeLinear" || node.op == "Where" ? 1 : 0];
  }
  return DataType::Float32;
}

Tensor number_of(DataType type, const Shape& shape, double value) {
  Tensor tensor(type, shape);
  ops::dispatch_type(type, [&](auto zero) {
    using T = decltype(zero);
    for (T& element : tensor.data<T>()) element = ops::narrow<T>(static_cast<ops::Wide<T>>(value));
  });
  return tensor;
}

}  // namespace ember::surgery
