#include "onnx/graph_writer.hpp"

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "onnx/data_type.hpp"
#include "onnx/tensor_codec.hpp"

namespace ember::onnx {

namespace {

using graph::Graph;
using graph::Node;
using graph::ValueId;
using ::onnx::AttributeProto;
using ::onnx::GraphProto;
using ::onnx::ValueInfoProto;

/// IR versions below this demand that initialisers are listed as inputs too.
constexpr std::int64_t kInitializersAreNoInputs = 4;

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

/// What every value of a graph is called in the file. `captured` are the outer names of the captured
/// values.
std::vector<std::string> file_names(const Graph& graph, const std::vector<std::string>& captured) {
  std::vector<std::string> names(graph.value_count());
  const std::set<std::string> taken(captured.begin(), captured.end());
  for (std::size_t at = 0; at < names.size(); ++at) {
    const std::string& own = graph.value(static_cast<ValueId>(at)).name;
    names[at] = own;
    while (taken.contains(names[at]) ||
           (names[at] != own && graph.find_value(names[at]) != graph::kNoValue)) {
      names[at] += "_inner";
    }
  }
  for (std::size_t at = 0; at < captured.size(); ++at) names[index(graph.captured[at])] = captured[at];
  return names;
}

class GraphWriter {
 public:
  GraphWriter(const Graph& graph, GraphProto& proto, const std::vector<std::string>& captured)
      : graph_(graph), proto_(proto), names_(file_names(graph, captured)) {}

  /// Elements of initialisers are left out for a list of `weights`.
  void write(bool initializers_are_inputs, std::vector<const Tensor*>* weights) {
    proto_.set_name(graph_.name);
    if (!graph_.doc.empty()) proto_.set_doc_string(graph_.doc);
    for (const graph::NodeId id : graph_.order()) write_node(graph_.node(id));
    for (std::size_t at = 0; at < graph_.value_count(); ++at) {
      const auto id = static_cast<ValueId>(at);
      if (graph_.constant(id) == nullptr) continue;
      auto& initializer = *proto_.add_initializer();
      initializer.set_name(names_[at]);
      describe_tensor(*graph_.constant(id), initializer);
      if (weights != nullptr) weights->push_back(graph_.constant(id));
      else encode_elements(*graph_.constant(id), initializer);
    }
    for (const ValueId id : graph_.inputs) write_info(id, *proto_.add_input());
    if (initializers_are_inputs) write_initializer_inputs();
    for (const ValueId id : graph_.outputs) write_info(id, *proto_.add_output());
    write_value_infos();
  }

 private:
  const std::string& name(ValueId id) const {
    static const std::string kLeftOut;
    return id == graph::kNoValue ? kLeftOut : names_[index(id)];
  }

  void write_initializer_inputs() {
    for (std::size_t at = 0; at < graph_.value_count(); ++at) {
      const auto id = static_cast<ValueId>(at);
      if (graph_.constant(id) != nullptr) write_info(id, *proto_.add_input());
    }
  }

  void write_value_infos() {
    const std::set<ValueId> outputs(graph_.outputs.begin(), graph_.outputs.end());
    for (const graph::NodeId node : graph_.order()) {
      for (const ValueId id : graph_.node(node).outputs) {
        if (id == graph::kNoValue || outputs.contains(id)) continue;
        const graph::Value& value = graph_.value(id);
        if (value.type != DataType::Undefined || value.dims.has_value())
          write_info(id, *proto_.add_value_info());
      }
    }
  }

  void write_info(ValueId id, ValueInfoProto& info) const {
    const graph::Value& value = graph_.value(id);
    info.set_name(name(id));
    if (value.type == DataType::Undefined && !value.dims.has_value()) return;
    auto& tensor = *info.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(to_onnx(value.type));
    if (!value.dims.has_value()) return;
    auto& shape = *tensor.mutable_shape();
    for (const graph::Dim& dim : *value.dims) {
      auto& extent = *shape.add_dim();
      if (dim.size >= 0) {
        extent.set_dim_value(dim.size);
      } else if (!dim.symbol.empty()) {
        extent.set_dim_param(dim.symbol);
      }
    }
  }

  void write_node(const Node& node) {
    auto& proto = *proto_.add_node();
    if (!node.name.empty()) proto.set_name(node.name);
    proto.set_op_type(node.op);
    if (!node.domain.empty()) proto.set_domain(node.domain);
    if (!node.doc.empty()) proto.set_doc_string(node.doc);
    for (const ValueId input : node.inputs) proto.add_input(name(input));
    for (const ValueId output : node.outputs) proto.add_output(name(output));
    std::size_t next_capture = 0;
    for (const auto& [key, attribute] : node.attributes) {
      auto& written = *proto.add_attribute();
      written.set_name(key);
      write_attribute(attribute, node, next_capture, written);
    }
  }

  void write_attribute(const graph::Attribute& attribute, const Node& node, std::size_t& next_capture,
                       AttributeProto& proto) const {
    std::visit(
        [&](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, std::shared_ptr<const Graph>>) {
            proto.set_type(AttributeProto::GRAPH);
            write_subgraph(*value, node, next_capture, *proto.mutable_g());
          } else {
            write_plain(value, proto);
          }
        },
        attribute);
  }

  void write_subgraph(const Graph& sub, const Node& node, std::size_t& next_capture,
                      GraphProto& proto) const {
    std::vector<std::string> captured;
    for (std::size_t i = 0; i < sub.captured.size(); ++i)
      captured.push_back(name(node.captures[next_capture++]));
    GraphWriter(sub, proto, captured).write(false, nullptr);
  }

  static void write_plain(std::int64_t value, AttributeProto& proto) {
    proto.set_type(AttributeProto::INT);
    proto.set_i(value);
  }
  static void write_plain(float value, AttributeProto& proto) {
    proto.set_type(AttributeProto::FLOAT);
    proto.set_f(value);
  }
  static void write_plain(const std::string& value, AttributeProto& proto) {
    proto.set_type(AttributeProto::STRING);
    proto.set_s(value);
  }
  static void write_plain(const std::vector<std::int64_t>& values, AttributeProto& proto) {
    proto.set_type(AttributeProto::INTS);
    for (const std::int64_t value : values) proto.add_ints(value);
  }
  static void write_plain(const std::vector<float>& values, AttributeProto& proto) {
    proto.set_type(AttributeProto::FLOATS);
    for (const float value : values) proto.add_floats(value);
  }
  static void write_plain(const std::vector<std::string>& values, AttributeProto& proto) {
    proto.set_type(AttributeProto::STRINGS);
    for (const std::string& value : values) proto.add_strings(value);
  }
  static void write_plain(const std::shared_ptr<const Tensor>& value, AttributeProto& proto) {
    proto.set_type(AttributeProto::TENSOR);
    describe_tensor(*value, *proto.mutable_t());
    encode_elements(*value, *proto.mutable_t());
  }

  const Graph& graph_;
  GraphProto& proto_;
  std::vector<std::string> names_;
};

}  // namespace

void write_graph(const Graph& graph, GraphProto& proto, std::vector<const Tensor*>& weights) {
  GraphWriter(graph, proto, {}).write(graph.metadata.ir_version < kInitializersAreNoInputs, &weights);
}

}  // namespace ember::onnx
