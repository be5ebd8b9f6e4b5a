#include <ember/model.hpp>

#include <algorithm>
#include <set>
#include <utility>

#include "core/unsupported.hpp"
#include "graph/graph.hpp"
#include "onnx/read.hpp"
#include "onnx/write.hpp"
#include "ops/lowering.hpp"
#include "ops/op.hpp"

namespace ember {

namespace {

std::string domain_name(const std::string& domain) { return domain.empty() ? "ai.onnx" : domain; }

ValueInfo describe(const graph::Graph& graph, graph::ValueId id) {
  const graph::Value& value = graph.value(id);
  ValueInfo info{.name = value.name, .type = value.type, .dims = {}};
  if (!value.dims.has_value()) return info;
  for (const graph::Dim& dim : *value.dims) info.dims.push_back({.size = dim.size, .symbol = dim.symbol});
  return info;
}

std::vector<ValueInfo> describe(const graph::Graph& graph, const std::vector<graph::ValueId>& ids) {
  std::vector<ValueInfo> infos;
  for (const graph::ValueId id : ids) infos.push_back(describe(graph, id));
  return infos;
}

/// See ValueInfo::quantization_step.
double quantization_step(const graph::Graph& graph, graph::ValueId value) {
  while (graph.value(value).producer != graph::kNoNode) {
    const graph::Node& node = graph.node(graph.value(value).producer);
    if (node.op == "DequantizeLinear") {
      const Tensor* scale = graph.constant(node.inputs[1]);
      const bool single = scale != nullptr && scale->type() == DataType::Float32 && scale->elements() == 1;
      return single ? static_cast<double>(scale->data<float>()[0]) : 0.0;
    }
    if (node.op != "Identity" && node.op != "Reshape") break;
    value = node.inputs[0];
  }
  return 0.0;
}

/// Gathers what ModelInfo says of nodes and weights, subgraphs included.
class Census {
 public:
  explicit Census(ModelInfo& info) : info_(info) {}

  void count(const graph::Graph& graph) {
    for (std::size_t at = 0; at < graph.value_count(); ++at) {
      const auto id = static_cast<graph::ValueId>(at);
      if (!graph.users(id).empty()) count_weight(graph.constant(id));
    }
    for (const graph::NodeId id : graph.order()) count_node(graph.node(id));
  }

 private:
  void count_node(const graph::Node& node) {
    ++info_.nodes;
    ++info_.operators[node.op];
    for (const auto& [key, attribute] : node.attributes) {
      if (const auto* sub = std::get_if<std::shared_ptr<const graph::Graph>>(&attribute)) count(**sub);
      const auto* tensor = std::get_if<std::shared_ptr<const Tensor>>(&attribute);
      if (tensor != nullptr && node.op == "Constant") count_weight(tensor->get());
    }
  }

  /// Scalars are scales and limits rather than weights; int32 and int64 are indices and shapes.
  void count_weight(const Tensor* tensor) {
    if (tensor == nullptr || tensor->shape().rank() == 0 || !counted_.insert(tensor).second) return;
    const bool quantised = tensor->type() == DataType::Int8 || tensor->type() == DataType::UInt8;
    if (!is_floating(tensor->type()) && !quantised) return;
    info_.parameters += tensor->elements();
    info_.parameter_bytes += static_cast<std::int64_t>(tensor->bytes());
  }

  ModelInfo& info_;
  std::set<const Tensor*> counted_;
};

/// What the reader and the operators together cannot do, each once.
std::vector<std::string> all_unsupported(std::vector<std::string> lines, const graph::Graph& graph) {
  std::set<std::string> seen(lines.begin(), lines.end());
  for (std::string& line : ops::unsupported(graph)) {
    if (seen.insert(line).second) lines.push_back(std::move(line));
  }
  return lines;
}

Model checked(graph::Graph graph, std::vector<std::string> lines) {
  refuse_unsupported(all_unsupported(std::move(lines), graph), graph.metadata.model_name);
  return Model(std::make_shared<const graph::Graph>(std::move(graph)));
}

}  // namespace

Model Model::load(const std::filesystem::path& file) {
  std::vector<std::string> lines;
  graph::Graph graph = onnx::read_file(file, lines);
  return checked(std::move(graph), std::move(lines));
}

Model Model::parse(std::span<const std::byte> bytes, const std::string& name) {
  std::vector<std::string> lines;
  graph::Graph graph = onnx::read_bytes(bytes, name, lines);
  return checked(std::move(graph), std::move(lines));
}

ModelInfo Model::inspect(const std::filesystem::path& file) {
  std::vector<std::string> lines;
  return Model(std::make_shared<const graph::Graph>(onnx::read_file(file, lines))).info();
}

std::vector<std::string> Model::unsupported(const std::filesystem::path& file) {
  std::vector<std::string> lines;
  const graph::Graph graph = onnx::read_file(file, lines);
  return all_unsupported(std::move(lines), graph);
}

void Model::save(const std::filesystem::path& file) const { onnx::write_file(*graph_, file); }

std::vector<std::byte> Model::serialize() const { return onnx::write_bytes(*graph_); }

ModelInfo Model::info() const {
  const graph::Metadata& metadata = graph_->metadata;
  ModelInfo info;
  info.name = metadata.model_name;
  info.producer = metadata.producer_name;
  if (!metadata.producer_version.empty()) info.producer += " " + metadata.producer_version;
  info.ir_version = metadata.ir_version;
  for (const auto& [domain, version] : metadata.opsets) info.opsets[domain_name(domain)] = version;
  info.inputs = inputs();
  info.outputs = outputs();
  Census(info).count(*graph_);
  return info;
}

std::vector<ValueInfo> Model::inputs() const { return describe(*graph_, graph_->inputs); }

std::vector<ValueInfo> Model::outputs() const {
  std::vector<ValueInfo> infos = describe(*graph_, graph_->outputs);
  for (std::size_t i = 0; i < infos.size(); ++i)
    infos[i].quantization_step = quantization_step(*graph_, graph_->outputs[i]);
  return infos;
}

const std::string& Model::name() const { return graph_->metadata.model_name; }

std::vector<OperatorInfo> supported_operators() {
  std::vector<OperatorInfo> operators;
  for (const ops::Operator& op : ops::all_operators()) {
    OperatorInfo info{.domain = domain_name(std::string(op.domain)), .name = std::string(op.name)};
    const int oldest = op.domain.empty() ? onnx::kOldestOpset : 1;
    info.first_opset = std::max(op.versions.front(), oldest);
    info.last_opset = op.removed_in == 0 ? 0 : op.removed_in - 1;
    info.versions = op.versions;
    if (op.domain.empty()) {
      for (const ops::Candidate& candidate : ops::candidates(op.name))
        info.kernels.emplace_back(candidate.implementation);
    }
    operators.push_back(std::move(info));
  }
  return operators;
}

int newest_opset() { return onnx::kNewestOpset; }

}  // namespace ember
