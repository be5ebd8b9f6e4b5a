#include "ops/registry.hpp"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/unsupported.hpp"

namespace ember::ops {

// One line per family, in the order of the files.
void add_activation_operators(OperatorList& list);
void add_clip_operator(OperatorList& list);
void add_prelu_operator(OperatorList& list);
void add_control_flow_operators(OperatorList& list);
void add_cast_operators(OperatorList& list);
void add_concat_split_operators(OperatorList& list);
void add_constant_operators(OperatorList& list);
void add_expand_operators(OperatorList& list);
void add_gather_operators(OperatorList& list);
void add_pad_operators(OperatorList& list);
void add_reshape_operators(OperatorList& list);
void add_scatter_operators(OperatorList& list);
void add_select_operators(OperatorList& list);
void add_shape_operators(OperatorList& list);
void add_slice_operators(OperatorList& list);
void add_space_depth_operators(OperatorList& list);
void add_transpose_operators(OperatorList& list);
void add_conv_operators(OperatorList& list);
void add_identity_operators(OperatorList& list);
void add_binary_operators(OperatorList& list);
void add_pow_operator(OperatorList& list);
void add_variadic_operators(OperatorList& list);
void add_unary_operators(OperatorList& list);
void add_where_operator(OperatorList& list);
void add_reduce_operators(OperatorList& list);
void add_ranking_operators(OperatorList& list);
void add_softmax_operators(OperatorList& list);
void add_normalization_operators(OperatorList& list);
void add_local_normalization_operators(OperatorList& list);
void add_matmul_operators(OperatorList& list);
void add_pool_operators(OperatorList& list);
void add_quantised_conv_operators(OperatorList& list);
void add_quantised_matmul_operators(OperatorList& list);
void add_quantize_operators(OperatorList& list);
void add_recurrent_operators(OperatorList& list);
void add_resize_operators(OperatorList& list);

namespace {

OperatorList build() {
  OperatorList list;
  add_activation_operators(list);
  add_clip_operator(list);
  add_prelu_operator(list);
  add_control_flow_operators(list);
  add_cast_operators(list);
  add_concat_split_operators(list);
  add_constant_operators(list);
  add_expand_operators(list);
  add_gather_operators(list);
  add_pad_operators(list);
  add_reshape_operators(list);
  add_scatter_operators(list);
  add_select_operators(list);
  add_shape_operators(list);
  add_slice_operators(list);
  add_space_depth_operators(list);
  add_transpose_operators(list);
  add_conv_operators(list);
  add_identity_operators(list);
  add_binary_operators(list);
  add_pow_operator(list);
  add_variadic_operators(list);
  add_unary_operators(list);
  add_where_operator(list);
  add_reduce_operators(list);
  add_ranking_operators(list);
  add_softmax_operators(list);
  add_normalization_operators(list);
  add_local_normalization_operators(list);
  add_matmul_operators(list);
  add_pool_operators(list);
  add_quantised_conv_operators(list);
  add_quantised_matmul_operators(list);
  add_quantize_operators(list);
  add_recurrent_operators(list);
  add_resize_operators(list);
  std::ranges::sort(list, [](const Operator& a, const Operator& b) {
    return std::pair(a.domain, a.name) < std::pair(b.domain, b.name);
  });
  return list;
}

const OperatorList& registry() {
  static const OperatorList list = build();
  return list;
}

void collect_unsupported(const graph::Graph& graph, std::vector<std::string>& lines) {
  for (const graph::NodeId id : graph.order()) {
    const NodeContext node(graph, id);
    const auto report = [&](const std::string& reason) {
      const std::string domain = node.node().domain.empty() ? "" : node.node().domain + ".";
      lines.push_back(
          fmt::format("{}: {}{} (opset {}): {}", graph.label(id), domain, node.op(), node.opset(), reason));
    };
    const Operator* op = find_operator(node.node().domain, node.op(), node.opset());
    if (op == nullptr) {
      const auto known = std::ranges::find_if(registry(), [&](const Operator& candidate) {
        return candidate.name == node.op() && candidate.domain == node.node().domain;
      });
      if (known == registry().end()) {
        report("no such operator in ember");
      } else if (known->removed_in != 0 && node.opset() >= known->removed_in) {
        report(fmt::format("the operator was removed in opset {}", known->removed_in));
      } else {
        report(fmt::format("ember knows it from opset {}", known->versions.front()));
      }
      continue;
    }
    if (op->check != nullptr) {
      std::vector<std::string> reasons;
      op->check(node, reasons);
      for (const std::string& reason : reasons) report(reason);
    }
    for (const auto& [key, attribute] : node.node().attributes) {
      if (const auto* sub = std::get_if<std::shared_ptr<const graph::Graph>>(&attribute))
        collect_unsupported(**sub, lines);
    }
  }
}

}  // namespace

const Operator* find_operator(std::string_view domain, std::string_view name, int opset) {
  const auto found =
      std::ranges::lower_bound(registry(), std::pair(domain, name), {},
                               [](const Operator& op) { return std::pair(op.domain, op.name); });
  if (found == registry().end() || found->name != name || found->domain != domain) return nullptr;
  if (opset < found->versions.front()) return nullptr;
  if (found->removed_in != 0 && opset >= found->removed_in) return nullptr;
  return &*found;
}

const Operator& operator_of(const graph::Graph& graph, graph::NodeId id) {
  const graph::Node& node = graph.node(id);
  const Operator* op = find_operator(node.domain, node.op, graph.opset(node));
  if (op == nullptr)
    NodeContext(graph, id).fail(ErrorCode::Unsupported, "no such operator in ember at this opset");
  return *op;
}

std::span<const Operator> all_operators() { return registry(); }

std::vector<std::string> unsupported(const graph::Graph& graph) {
  std::vector<std::string> lines;
  collect_unsupported(graph, lines);
  return lines;
}

void check_supported(const graph::Graph& graph) {
  refuse_unsupported(unsupported(graph), graph.metadata.model_name);
}

}  // namespace ember::ops
