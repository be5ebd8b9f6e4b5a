#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "graph/graph.hpp"

namespace ember::test {

inline bool same_tensor(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() && a.shape() == b.shape() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

std::string graph_difference(const graph::Graph& a, const graph::Graph& b);

namespace detail {

inline std::vector<std::string> names_of(const graph::Graph& graph, const std::vector<graph::ValueId>& ids) {
  std::vector<std::string> names;
  for (const graph::ValueId id : ids) names.push_back(id == graph::kNoValue ? "" : graph.value(id).name);
  return names;
}

inline std::string attribute_difference(const graph::Attribute& a, const graph::Attribute& b) {
  using TensorPointer = std::shared_ptr<const Tensor>;
  using GraphPointer = std::shared_ptr<const graph::Graph>;
  if (a.index() != b.index()) return "kind";
  if (const auto* tensor = std::get_if<TensorPointer>(&a))
    return same_tensor(**tensor, *std::get<TensorPointer>(b)) ? "" : "tensor";
  if (const auto* sub = std::get_if<GraphPointer>(&a))
    return graph_difference(**sub, *std::get<GraphPointer>(b));
  return a == b ? "" : "value";
}

inline std::string node_difference(const graph::Graph& ga, const graph::Node& a, const graph::Graph& gb,
                                   const graph::Node& b) {
  if (a.name != b.name || a.op != b.op || a.domain != b.domain || a.doc != b.doc) return "identity";
  if (names_of(ga, a.inputs) != names_of(gb, b.inputs)) return "inputs";
  if (names_of(ga, a.outputs) != names_of(gb, b.outputs)) return "outputs";
  if (names_of(ga, a.captures) != names_of(gb, b.captures)) return "captures";
  if (a.attributes.size() != b.attributes.size()) return "number of attributes";
  for (const auto& [key, value] : a.attributes) {
    const auto other = b.attributes.find(key);
    if (other == b.attributes.end()) return "attribute " + key + " is missing";
    const std::string difference = attribute_difference(value, other->second);
    if (!difference.empty()) return "attribute " + key + ": " + difference;
  }
  return "";
}

inline std::string value_difference(const graph::Value& a, const graph::Graph& gb) {
  const graph::ValueId other = gb.find_value(a.name);
  if (other == graph::kNoValue) return "is missing";
  const graph::Value& b = gb.value(other);
  if (a.type != b.type) return "type";
  if (a.dims.has_value() != b.dims.has_value()) return "rank known";
  if (a.dims.has_value()) {
    if (a.dims->size() != b.dims->size()) return "rank";
    for (std::size_t i = 0; i < a.dims->size(); ++i) {
      if ((*a.dims)[i].size != (*b.dims)[i].size || (*a.dims)[i].symbol != (*b.dims)[i].symbol)
        return "extent";
    }
  }
  if ((a.constant == nullptr) != (b.constant == nullptr)) return "constancy";
  if (a.constant != nullptr && !same_tensor(*a.constant, *b.constant)) return "elements";
  return "";
}

inline bool same_metadata(const graph::Metadata& a, const graph::Metadata& b) {
  return a.ir_version == b.ir_version && a.producer_name == b.producer_name &&
         a.producer_version == b.producer_version && a.domain == b.domain &&
         a.model_version == b.model_version && a.doc == b.doc && a.opsets == b.opsets &&
         a.properties == b.properties;
}

}  // namespace detail

/// The first difference between two graphs, empty when they are the same but for ids. Values are matched
/// by name.
inline std::string graph_difference(const graph::Graph& a, const graph::Graph& b) {
  using detail::names_of;
  if (a.name != b.name || a.doc != b.doc) return "graph name or doc";
  if (!detail::same_metadata(a.metadata, b.metadata)) return "metadata";
  if (names_of(a, a.inputs) != names_of(b, b.inputs)) return "graph inputs";
  if (names_of(a, a.outputs) != names_of(b, b.outputs)) return "graph outputs";
  if (names_of(a, a.captured) != names_of(b, b.captured)) return "captured";
  if (a.value_count() != b.value_count()) return "number of values";
  for (std::size_t at = 0; at < a.value_count(); ++at) {
    const graph::Value& value = a.value(static_cast<graph::ValueId>(at));
    const std::string difference = detail::value_difference(value, b);
    if (!difference.empty()) return "value " + value.name + ": " + difference;
  }
  if (a.order().size() != b.order().size()) return "number of nodes";
  for (std::size_t at = 0; at < a.order().size(); ++at) {
    const std::string difference =
        detail::node_difference(a, a.node(a.order()[at]), b, b.node(b.order()[at]));
    if (!difference.empty()) return "node " + a.label(a.order()[at]) + ": " + difference;
  }
  return "";
}

}  // namespace ember::test
