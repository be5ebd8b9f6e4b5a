#include "onnx/write.hpp"

#include <new>

#include <onnx/onnx_pb.h>

#include <ember/error.hpp>

#include "core/output_file.hpp"
#include "onnx/graph_writer.hpp"
#include "onnx/message_io.hpp"

namespace ember::onnx {

namespace {

void write_metadata(const graph::Metadata& metadata, ::onnx::ModelProto& proto) {
  proto.set_ir_version(metadata.ir_version);
  for (const auto& [domain, version] : metadata.opsets) {
    auto& import = *proto.add_opset_import();
    import.set_domain(domain);
    import.set_version(version);
  }
  if (!metadata.producer_name.empty()) proto.set_producer_name(metadata.producer_name);
  if (!metadata.producer_version.empty()) proto.set_producer_version(metadata.producer_version);
  if (!metadata.domain.empty()) proto.set_domain(metadata.domain);
  if (metadata.model_version != 0) proto.set_model_version(metadata.model_version);
  if (!metadata.doc.empty()) proto.set_doc_string(metadata.doc);
  for (const auto& [key, value] : metadata.properties) {
    auto& entry = *proto.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
}

}  // namespace

std::vector<std::byte> write_bytes(const graph::Graph& graph) {
  try {
    ::onnx::ModelProto proto;
    write_metadata(graph.metadata, proto);
    write_graph(graph, *proto.mutable_graph());
    return serialize(proto);
  } catch (const Error& error) {
    throw error.within({.model = graph.metadata.model_name});
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::ResourceLimit, "not enough memory to write the model",
                {.model = graph.metadata.model_name});
  }
}

void write_file(const graph::Graph& graph, const std::filesystem::path& file) {
  ember::write_file(file, write_bytes(graph));
}

}  // namespace ember::onnx
