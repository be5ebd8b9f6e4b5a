#include "onnx/attribute_reader.hpp"

#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "onnx/tensor_codec.hpp"

namespace ember::onnx {

namespace {

using ::onnx::AttributeProto;

/// The kind of an attribute; early files leave it out and mean the field that is filled in.
AttributeProto::AttributeType type_of(const AttributeProto& proto) {
  if (proto.type() != AttributeProto::UNDEFINED) return proto.type();
  if (proto.has_f()) return AttributeProto::FLOAT;
  if (proto.has_i()) return AttributeProto::INT;
  if (proto.has_s()) return AttributeProto::STRING;
  if (proto.has_t()) return AttributeProto::TENSOR;
  if (proto.has_g()) return AttributeProto::GRAPH;
  if (proto.floats_size() > 0) return AttributeProto::FLOATS;
  if (proto.ints_size() > 0) return AttributeProto::INTS;
  if (proto.strings_size() > 0) return AttributeProto::STRINGS;
  throw Error(ErrorCode::InvalidModel, fmt::format("attribute '{}' has no value", proto.name()));
}

const char* unsupported_kind(AttributeProto::AttributeType type) {
  switch (type) {
    case AttributeProto::TENSORS: return "a list of tensors";
    case AttributeProto::GRAPHS: return "a list of graphs";
    case AttributeProto::SPARSE_TENSOR: return "a sparse tensor";
    case AttributeProto::SPARSE_TENSORS: return "a list of sparse tensors";
    case AttributeProto::TYPE_PROTO: return "a type";
    case AttributeProto::TYPE_PROTOS: return "a list of types";
    default: return "of an unknown kind";
  }
}

std::optional<graph::Attribute> read_tensor(AttributeProto& proto, ExternalData& external,
                                            std::string& unsupported) {
  try {
    return std::make_shared<const Tensor>(decode_tensor(*proto.mutable_t(), external));
  } catch (const Error& error) {
    const std::string reason = fmt::format("attribute '{}': {}", proto.name(), error.reason());
    if (error.code() != ErrorCode::Unsupported) throw Error(error.code(), reason, error.context());
    unsupported = reason;
    return std::nullopt;
  }
}

}  // namespace

std::optional<graph::Attribute> read_attribute(
    AttributeProto& proto, ExternalData& external,
    const std::function<std::shared_ptr<const graph::Graph>(::onnx::GraphProto&)>& read_subgraph,
    std::string& unsupported) {
  if (!proto.ref_attr_name().empty()) {
    throw Error(
        ErrorCode::InvalidModel,
        fmt::format("attribute '{}' refers to a function's attribute outside a function", proto.name()));
  }
  const AttributeProto::AttributeType type = type_of(proto);
  switch (type) {
    case AttributeProto::FLOAT: return proto.f();
    case AttributeProto::INT: return proto.i();
    case AttributeProto::STRING: return proto.s();
    case AttributeProto::FLOATS: return std::vector<float>(proto.floats().begin(), proto.floats().end());
    case AttributeProto::INTS: return std::vector<std::int64_t>(proto.ints().begin(), proto.ints().end());
    case AttributeProto::STRINGS:
      return std::vector<std::string>(proto.strings().begin(), proto.strings().end());
    case AttributeProto::TENSOR: return read_tensor(proto, external, unsupported);
    case AttributeProto::GRAPH: return read_subgraph(*proto.mutable_g());
    default:
      unsupported = fmt::format("attribute '{}' is {}", proto.name(), unsupported_kind(type));
      return std::nullopt;
  }
}

}  // namespace ember::onnx
