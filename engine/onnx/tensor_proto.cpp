#include "onnx/tensor_proto.hpp"

#include <new>
#include <utility>

#include <onnx/onnx_pb.h>

#include <ember/error.hpp>

#include "onnx/message_io.hpp"
#include "onnx/tensor_codec.hpp"

namespace ember::onnx {

namespace {

template <class Parse>
NamedTensor read_tensor(const std::string& name, ExternalData external, const Parse& parse) {
  try {
    ::onnx::TensorProto proto;
    parse(proto);
    NamedTensor read{.name = proto.name(), .tensor = {}};
    read.tensor = decode_tensor(proto, external);
    return read;
  } catch (const Error& error) {
    // A lone tensor is data, not a model.
    const ErrorCode code = error.code() == ErrorCode::InvalidModel ? ErrorCode::InvalidData : error.code();
    throw Error(code, error.reason(), error.context()).within({.tensor = name});
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::ResourceLimit, "not enough memory to read it", {.tensor = name});
  }
}

}  // namespace

NamedTensor read_tensor_file(const std::filesystem::path& file) {
  return read_tensor(file.string(), ExternalData(file),
                     [&](::onnx::TensorProto& proto) { parse_file(file, "an ONNX tensor", whole(proto)); });
}

NamedTensor read_tensor_bytes(std::span<const std::byte> bytes, const std::string& name) {
  return read_tensor(name, ExternalData(),
                     [&](::onnx::TensorProto& proto) { parse_bytes(bytes, "an ONNX tensor", whole(proto)); });
}

std::vector<std::byte> write_tensor_bytes(const NamedTensor& tensor) {
  ::onnx::TensorProto proto;
  if (!tensor.name.empty()) proto.set_name(tensor.name);
  describe_tensor(tensor.tensor, proto);
  encode_elements(tensor.tensor, proto);
  const std::string message = serialize(proto);
  const auto bytes = std::as_bytes(std::span(message));
  return {bytes.begin(), bytes.end()};
}

}  // namespace ember::onnx
