#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <onnx/onnx_pb.h>

#include <doctest/doctest.h>

#include <ember/error.hpp>

#include "onnx/read.hpp"

namespace ember::test {

inline graph::Graph read_model(const std::string& bytes) {
  return ember::onnx::read_bytes(std::as_bytes(std::span(bytes)));
}

/// Builds ONNX files field by field, also wrong ones.
class ModelFile {
 public:
  explicit ModelFile(std::int64_t opset = 17, std::int64_t ir = 8) {
    model.set_ir_version(ir);
    auto& import = *model.add_opset_import();
    import.set_domain("");
    import.set_version(opset);
    graph().set_name("test");
  }

  ::onnx::GraphProto& graph() { return *model.mutable_graph(); }

  static void describe(::onnx::ValueInfoProto& info, const std::string& name, std::int32_t type = 1,
                       const std::vector<std::int64_t>& dims = {1}) {
    info.set_name(name);
    auto& tensor = *info.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(type);
    auto& shape = *tensor.mutable_shape();
    for (const std::int64_t extent : dims) shape.add_dim()->set_dim_value(extent);
  }
  void input(const std::string& name, std::int32_t type = 1, const std::vector<std::int64_t>& dims = {1}) {
    describe(*graph().add_input(), name, type, dims);
  }
  void output(const std::string& name) { describe(*graph().add_output(), name); }

  static ::onnx::NodeProto& node(::onnx::GraphProto& to, const std::string& op,
                                 const std::vector<std::string>& inputs,
                                 const std::vector<std::string>& outputs) {
    auto& node = *to.add_node();
    node.set_op_type(op);
    node.set_name(op + "_of_" + (outputs.empty() ? "nothing" : outputs.front()));
    for (const std::string& name : inputs) node.add_input(name);
    for (const std::string& name : outputs) node.add_output(name);
    return node;
  }
  ::onnx::NodeProto& node(const std::string& op, const std::vector<std::string>& inputs,
                          const std::vector<std::string>& outputs) {
    return node(graph(), op, inputs, outputs);
  }

  ::onnx::TensorProto& initializer(const std::string& name, std::int32_t type,
                                   const std::vector<std::int64_t>& dims) {
    auto& tensor = *graph().add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(type);
    for (const std::int64_t extent : dims) tensor.add_dims(extent);
    return tensor;
  }

  /// x -> Relu -> y
  static ModelFile small() {
    ModelFile file;
    file.input("x");
    file.node("Relu", {"x"}, {"y"});
    file.output("y");
    return file;
  }

  [[nodiscard]] std::string bytes() const { return model.SerializeAsString(); }
  graph::Graph read() const { return read_model(bytes()); }
  void write(const std::filesystem::path& path) const { std::ofstream(path, std::ios::binary) << bytes(); }

  ::onnx::ModelProto model;
};

/// Runs `action`, which must throw an Error of that code whose message holds every part.
template <class Action>
void check_error(ErrorCode code, const std::vector<std::string>& parts, const Action& action) {
  try {
    action();
    FAIL_CHECK("no error");
  } catch (const Error& error) {
    const std::string message = error.what();
    CAPTURE(message);
    CHECK(std::string(to_string(error.code())) == to_string(code));
    for (const std::string& part : parts) {
      CAPTURE(part);
      CHECK(message.find(part) != std::string::npos);
    }
  }
}

}  // namespace ember::test
