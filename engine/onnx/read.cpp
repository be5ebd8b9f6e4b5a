#include "onnx/read.hpp"

#include <new>
#include <utility>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <ember/error.hpp>

#include "core/unsupported.hpp"
#include "onnx/external_data.hpp"
#include "onnx/graph_reader.hpp"
#include "onnx/model_parser.hpp"

namespace ember::onnx {

namespace {

using ::onnx::ModelProto;

void read_opsets(const ModelProto& proto, graph::Metadata& metadata) {
  for (const auto& import : proto.opset_import()) {
    const std::string domain = import.domain() == "ai.onnx" ? "" : import.domain();
    const auto version = static_cast<int>(import.version());
    if (import.version() < 1 || import.version() != version) {
      throw Error(ErrorCode::InvalidModel, fmt::format("opset version {} makes no sense", import.version()));
    }
    const auto [known, added] = metadata.opsets.emplace(domain, version);
    if (!added && known->second != version) {
      throw Error(ErrorCode::InvalidModel, fmt::format("two versions of the opset '{}' are imported",
                                                       domain.empty() ? "ai.onnx" : domain));
    }
  }
  if (metadata.opsets.empty()) throw Error(ErrorCode::InvalidModel, "the model imports no opset");
}

graph::Metadata read_metadata(const ModelProto& proto, const std::string& name) {
  graph::Metadata metadata;
  metadata.model_name = name;
  metadata.ir_version = proto.ir_version();
  metadata.producer_name = proto.producer_name();
  metadata.producer_version = proto.producer_version();
  metadata.domain = proto.domain();
  metadata.model_version = proto.model_version();
  metadata.doc = proto.doc_string();
  read_opsets(proto, metadata);
  for (const auto& entry : proto.metadata_props()) metadata.properties[entry.key()] = entry.value();
  return metadata;
}

void check_versions(const graph::Metadata& metadata, std::vector<std::string>& unsupported) {
  if (metadata.ir_version < kOldestIrVersion || metadata.ir_version > kNewestIrVersion) {
    unsupported.push_back(fmt::format("IR version {}: ember reads {} to {}", metadata.ir_version,
                                      kOldestIrVersion, kNewestIrVersion));
  }
  const auto opset = metadata.opsets.find("");
  if (opset == metadata.opsets.end()) return;
  if (opset->second < kOldestOpset || opset->second > kNewestOpset) {
    unsupported.push_back(
        fmt::format("opset {} of ai.onnx: ember reads {} to {}", opset->second, kOldestOpset, kNewestOpset));
  }
}

void check_extras(const ModelProto& proto, std::vector<std::string>& unsupported) {
  for (const auto& function : proto.functions()) {
    unsupported.push_back(
        fmt::format("function {}.{}: model-local functions", function.domain(), function.name()));
  }
  if (proto.training_info_size() > 0) unsupported.emplace_back("training information");
}

graph::Graph convert(ParsedModel& parsed, const std::string& name, ExternalData external,
                     std::vector<std::string>& unsupported) {
  ModelProto& proto = parsed.proto;
  if (!proto.has_graph()) {
    throw Error(ErrorCode::InvalidModel, "not an ONNX model: it has no graph");
  }
  const graph::Metadata metadata = read_metadata(proto, name);
  const std::size_t before = unsupported.size();
  check_versions(metadata, unsupported);
  check_extras(proto, unsupported);
  ReadContext context{
      .metadata = metadata, .external = external, .elements = parsed.elements, .unsupported = unsupported};
  graph::Graph read = read_graph(*proto.mutable_graph(), context);
  if (unsupported.size() == before) graph::verify(read);
  return read;
}

template <class Parse>
graph::Graph read_model(const std::string& name, ExternalData external, std::vector<std::string>& unsupported,
                        const Parse& parse) {
  try {
    ParsedModel parsed = parse();
    return convert(parsed, name, std::move(external), unsupported);
  } catch (const Error& error) {
    throw error.within({.model = name});
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::ResourceLimit, "not enough memory to read the model", {.model = name});
  }
}

}  // namespace

graph::Graph read_file(const std::filesystem::path& file, std::vector<std::string>& unsupported) {
  // Messages name the file as the caller spelt it.
  return read_model(file.string(), ExternalData(file), unsupported, [&] { return parse_model_file(file); });
}

graph::Graph read_bytes(std::span<const std::byte> bytes, const std::string& name,
                        std::vector<std::string>& unsupported) {
  return read_model(name, ExternalData(), unsupported, [&] { return parse_model_bytes(bytes); });
}

graph::Graph read_file(const std::filesystem::path& file) {
  std::vector<std::string> unsupported;
  graph::Graph read = read_file(file, unsupported);
  refuse_unsupported(unsupported, read.metadata.model_name);
  return read;
}

graph::Graph read_bytes(std::span<const std::byte> bytes, const std::string& name) {
  std::vector<std::string> unsupported;
  graph::Graph read = read_bytes(bytes, name, unsupported);
  refuse_unsupported(unsupported, read.metadata.model_name);
  return read;
}

}  // namespace ember::onnx
