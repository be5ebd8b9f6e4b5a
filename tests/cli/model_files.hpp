#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <onnx/onnx_pb.h>
#include <ember/file.hpp>

namespace ember::test {

/// Builds ONNX files message by message, right or wrong.
class ModelFile {
 public:
  ModelFile() {
    model_.set_ir_version(8);
    model_.add_opset_import()->set_version(17);
    model_.mutable_graph()->set_name("test");
  }

  ModelFile& input(const std::string& name, const std::vector<std::int64_t>& dims) {
    describe(*model_.mutable_graph()->add_input(), name, dims);
    return *this;
  }
  ModelFile& output(const std::string& name, const std::vector<std::int64_t>& dims) {
    describe(*model_.mutable_graph()->add_output(), name, dims);
    return *this;
  }
  ModelFile& node(const std::string& op, const std::vector<std::string>& inputs, const std::string& output) {
    onnx::NodeProto& node = *model_.mutable_graph()->add_node();
    node.set_op_type(op);
    node.set_name(output + "_node");
    for (const std::string& input : inputs) node.add_input(input);
    node.add_output(output);
    return *this;
  }
  onnx::TensorProto& weight(const std::string& name, const std::vector<std::int64_t>& dims) {
    onnx::TensorProto& tensor = *model_.mutable_graph()->add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    for (const std::int64_t extent : dims) tensor.add_dims(extent);
    return tensor;
  }

  [[nodiscard]] std::string bytes() const { return model_.SerializeAsString(); }
  void save(const std::filesystem::path& file) const { write_file(file, bytes()); }

 private:
  static void describe(onnx::ValueInfoProto& value, const std::string& name,
                       const std::vector<std::int64_t>& dims) {
    value.set_name(name);
    auto& type = *value.mutable_type()->mutable_tensor_type();
    type.set_elem_type(onnx::TensorProto::FLOAT);
    for (const std::int64_t extent : dims) {
      auto& dim = *type.mutable_shape()->add_dim();
      if (extent < 0) dim.set_dim_param("N");
      else dim.set_dim_value(extent);
    }
  }

  onnx::ModelProto model_;
};

/// y = relu(x + w), w = (1, 2, 3), x of shape [N, 3].
inline ModelFile small_model() {
  ModelFile file;
  file.input("x", {-1, 3}).output("y", {-1, 3}).node("Add", {"x", "w"}, "sum").node("Relu", {"sum"}, "y");
  onnx::TensorProto& weight = file.weight("w", {3});
  for (const float value : {1.0F, 2.0F, 3.0F}) weight.add_float_data(value);
  return file;
}

}  // namespace ember::test
