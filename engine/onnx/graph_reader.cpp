#include "onnx/graph_reader.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "onnx/attribute_reader.hpp"
#include "onnx/data_type.hpp"
#include "onnx/scope.hpp"
#include "onnx/tensor_codec.hpp"

namespace ember::onnx {

namespace {

using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::ValueId;
using ::onnx::GraphProto;
using ::onnx::NodeProto;
using ::onnx::TypeProto;
using ::onnx::ValueInfoProto;

[[noreturn]] void invalid(const std::string& reason, ErrorContext at = {}) {
  throw Error(ErrorCode::InvalidModel, reason, std::move(at));
}

std::string normal_domain(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

/// Reads one graph; subgraphs recurse with this graph's scope around them.
class GraphReader {
 public:
  GraphReader(GraphProto& proto, ReadContext& context, Scope* outer)
      : proto_(proto), context_(context), scope_(graph_, outer), is_main_(outer == nullptr) {}

  Graph read() {
    graph_.name = proto_.name();
    graph_.doc = proto_.doc_string();
    graph_.metadata = context_.metadata;
    // Every name is declared before any node looks one up: nodes may come in any order.
    for (int i = 0; i < proto_.initializer_size(); ++i) {
      RawElements apart;
      if (is_main_) apart = std::move(context_.elements[static_cast<std::size_t>(i)]);
      read_initializer(*proto_.mutable_initializer(i), std::move(apart));
    }
    for (const auto& sparse : proto_.sparse_initializer()) {
      report(fmt::format("initialiser '{}': a sparse tensor", sparse.values().name()));
      declare(sparse.values().name());
    }
    for (const auto& input : proto_.input()) read_input(input);
    for (const NodeProto& node : proto_.node()) declare_outputs(node);
    for (const auto& info : proto_.value_info()) describe(graph_.find_value(info.name()), info, "value");
    for (const auto& output : proto_.output()) describe(graph_.find_value(output.name()), output, "output");
    for (NodeProto& node : *proto_.mutable_node()) read_node(node);
    for (const auto& output : proto_.output()) read_output(output);
    graph_.sort();
    return std::move(graph_);
  }

 private:
  void report(const std::string& line) { context_.unsupported.push_back(line); }

  ValueId declare(const std::string& name) {
    if (name.empty()) invalid("a value has an empty name");
    if (graph_.find_value(name) != kNoValue) {
      invalid("the name is given to two values (an input, initialiser or node output)", {.tensor = name});
    }
    return graph_.add_value(name);
  }

  void read_initializer(::onnx::TensorProto& proto, RawElements apart) {
    const ValueId id = declare(proto.name());
    try {
      graph_.make_constant(
          id, std::make_shared<const Tensor>(decode_tensor(proto, context_.external, std::move(apart))));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::Unsupported) throw error.within({.tensor = proto.name()});
      report(fmt::format("initialiser '{}': {}", proto.name(), error.reason()));
    }
  }

  void read_input(const ValueInfoProto& info) {
    const ValueId known = graph_.find_value(info.name());
    // Up to IR version 3 every initialiser is listed as an input too.
    if (known != kNoValue && graph_.value(known).constant != nullptr) return;
    const ValueId id = declare(info.name());
    graph_.inputs.push_back(id);
    const std::size_t reported = context_.unsupported.size();
    describe(id, info, "input");
    if (is_main_ && graph_.value(id).type == DataType::Undefined && context_.unsupported.size() == reported) {
      invalid("the model input has no element type", {.tensor = info.name()});
    }
  }

  void declare_outputs(const NodeProto& node) {
    for (const std::string& output : node.output()) {
      if (!output.empty()) declare(output);
    }
  }

  /// Notes the type and extents that the model states for a value, unless it is known better.
  void describe(ValueId id, const ValueInfoProto& info, const char* role) {
    if (!info.has_type() || info.type().value_case() == TypeProto::VALUE_NOT_SET) return;
    if (!info.type().has_tensor_type()) {
      report(fmt::format("{} '{}': not a tensor but a {}", role, info.name(), kind_of(info.type())));
      return;
    }
    const auto& tensor = info.type().tensor_type();
    const DataType type = from_onnx(tensor.elem_type());
    if (type == DataType::Undefined && tensor.elem_type() != 0) {
      report(fmt::format("{} '{}': element type {}", role, info.name(), onnx_type_name(tensor.elem_type())));
      return;
    }
    if (id == kNoValue || graph_.value(id).constant != nullptr) return;
    graph::Value& value = graph_.value(id);
    if (value.type == DataType::Undefined) value.type = type;
    if (!value.dims.has_value() && tensor.has_shape()) value.dims = read_dims(tensor.shape(), info.name());
  }

  static const char* kind_of(const TypeProto& type) {
    switch (type.value_case()) {
      case TypeProto::kSequenceType: return "sequence";
      case TypeProto::kMapType: return "map";
      case TypeProto::kOptionalType: return "optional";
      case TypeProto::kSparseTensorType: return "sparse tensor";
      default: return "type ember does not know";
    }
  }

  static std::vector<graph::Dim> read_dims(const ::onnx::TensorShapeProto& shape, const std::string& name) {
    std::vector<graph::Dim> dims;
    for (const auto& dim : shape.dim()) {
      // -1 is how some exporters spell an open extent.
      if (dim.has_dim_value() && dim.dim_value() < -1) {
        invalid(fmt::format("negative extent {}", dim.dim_value()), {.tensor = name});
      }
      dims.push_back({.size = dim.has_dim_value() ? dim.dim_value() : -1, .symbol = dim.dim_param()});
    }
    return dims;
  }

  void read_node(NodeProto& proto) {
    Node node{.name = proto.name(), .op = proto.op_type(), .domain = normal_domain(proto.domain())};
    node.doc = proto.doc_string();
    const std::string label = node.name.empty() ? fmt::format("#{}", nodes_read_) : node.name;
    ++nodes_read_;
    const int opset = graph_.opset(node);
    try {
      if (node.op.empty()) invalid("the node has no operator type");
      read_attributes(proto, node, label, opset);
      read_edges(proto, node);
      graph_.add_node(std::move(node));
    } catch (const Error& error) {
      throw error.within({.node = label, .op = proto.op_type(), .opset = opset});
    }
  }

  void read_edges(const NodeProto& proto, Node& node) {
    for (const std::string& input : proto.input()) {
      const ValueId id = input.empty() ? kNoValue : scope_.resolve(input);
      if (id == kNoValue && !input.empty()) {
        invalid("the node reads a value that no input, initialiser or node provides", {.tensor = input});
      }
      node.inputs.push_back(id);
    }
    for (const std::string& output : proto.output()) {
      node.outputs.push_back(output.empty() ? kNoValue : graph_.find_value(output));
    }
    for (const auto& [name, attribute] : node.attributes) {
      const auto* sub = std::get_if<std::shared_ptr<const Graph>>(&attribute);
      if (sub == nullptr) continue;
      for (const ValueId captured : (*sub)->captured) {
        node.captures.push_back(scope_.resolve((*sub)->value(captured).name));
      }
    }
  }

  void read_attributes(NodeProto& proto, Node& node, const std::string& label, int opset) {
    for (auto& attribute : *proto.mutable_attribute()) {
      std::string reason;
      const auto subgraph = [&](GraphProto& sub) {
        return std::make_shared<const Graph>(GraphReader(sub, context_, &scope_).read());
      };
      auto read = read_attribute(attribute, context_.external, subgraph, reason);
      if (!read.has_value()) {
        report(fmt::format("{}: {} (opset {}): {}", label, node.op, opset, reason));
      } else if (!node.attributes.emplace(attribute.name(), std::move(*read)).second) {
        invalid(fmt::format("attribute '{}' is given twice", attribute.name()));
      }
    }
  }

  void read_output(const ValueInfoProto& info) {
    const ValueId id = info.name().empty() ? kNoValue : scope_.resolve(info.name());
    if (id == kNoValue) {
      invalid("no input, initialiser or node provides the graph output", {.tensor = info.name()});
    }
    if (!output_ids_.insert(id).second) invalid("the graph output is listed twice", {.tensor = info.name()});
    graph_.outputs.push_back(id);
  }

  GraphProto& proto_;
  ReadContext& context_;
  Graph graph_;
  Scope scope_;
  bool is_main_;
  std::int64_t nodes_read_ = 0;
  std::set<ValueId> output_ids_;
};

}  // namespace

Graph read_graph(GraphProto& proto, ReadContext& context) {
  return GraphReader(proto, context, nullptr).read();
}

}  // namespace ember::onnx
