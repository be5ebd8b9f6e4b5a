#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "graph/graph.hpp"

namespace ember::graph {

namespace {

std::string describe(const Graph& graph, ValueId id) {
  if (id == kNoValue) return "-";
  const Value& value = graph.value(id);
  std::string text = fmt::format("%{}", value.name);
  if (value.type != DataType::Undefined) text += fmt::format(":{}", to_string(value.type));
  if (value.dims.has_value()) {
    std::vector<std::string> parts;
    for (const Dim& dim : *value.dims) {
      parts.push_back(dim.size >= 0 ? std::to_string(dim.size) : dim.symbol.empty() ? "?" : dim.symbol);
    }
    text += fmt::format("[{}]", fmt::join(parts, ","));
  }
  if (value.constant != nullptr) text += "=const";
  return text;
}

std::string describe_all(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<std::string> parts;
  for (const ValueId id : ids) parts.push_back(describe(graph, id));
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

std::string dump(const Graph& graph) {
  std::string text = fmt::format("graph {} ({}) -> ({})\n", graph.name, describe_all(graph, graph.inputs),
                                 describe_all(graph, graph.outputs));
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    fmt::format_to(std::back_inserter(text), "  {} = {}({}) '{}'", describe_all(graph, node.outputs), node.op,
                   describe_all(graph, node.inputs), graph.label(id));
    for (const auto& [key, attribute] : node.attributes) fmt::format_to(std::back_inserter(text), " {}", key);
    text += '\n';
  }
  return text;
}

}  // namespace ember::graph
