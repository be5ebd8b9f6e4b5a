#include <doctest/doctest.h>

#include <ember/model.hpp>

#include "onnx/model_file.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using test::check_error;
using test::ModelFile;

namespace {

::onnx::AttributeProto& attribute(::onnx::NodeProto& node, const std::string& name,
                                  ::onnx::AttributeProto::AttributeType type) {
  auto& added = *node.add_attribute();
  added.set_name(name);
  added.set_type(type);
  return added;
}

}  // namespace

TEST_CASE("everything unsupported is named in one error, the operators too") {
  ModelFile file = ModelFile::small();
  file.node("FancyOp", {"x"}, {"f"});
  attribute(file.node("Relu", {"x"}, {"s"}), "weights", ::onnx::AttributeProto::SPARSE_TENSOR)
      .mutable_sparse_tensor();
  attribute(file.node("Relu", {"x"}, {"g"}), "graphs", ::onnx::AttributeProto::GRAPHS).add_graphs();
  auto& text = attribute(file.node("Constant", {}, {"c"}), "value", ::onnx::AttributeProto::TENSOR);
  text.mutable_t()->set_data_type(8);
  file.initializer("words", 8, {1}).add_string_data("hello");
  file.initializer("coarse", 17, {1}).set_raw_data("1");
  file.graph().add_sparse_initializer()->mutable_values()->set_name("holes");
  auto& sequence = *file.graph().add_input();
  sequence.set_name("list");
  sequence.mutable_type()->mutable_sequence_type();
  auto& function = *file.model.add_functions();
  function.set_domain("local");
  function.set_name("Twice");
  file.model.add_training_info();

  const std::vector<std::string> named = {
      "FancyOp_of_f: FancyOp (opset 17)",
      "Relu_of_s: Relu (opset 17): attribute 'weights' is a sparse tensor",
      "attribute 'graphs' is a list of graphs",
      "Constant_of_c: Constant (opset 17): attribute 'value': element type string",
      "initialiser 'words': element type string",
      "initialiser 'coarse': element type float8e4m3fn",
      "initialiser 'holes': a sparse tensor",
      "input 'list': not a tensor but a sequence",
      "function local.Twice",
      "training information"};
  const std::string bytes = file.bytes();
  check_error(ErrorCode::Unsupported, named,
              [&] { static_cast<void>(Model::parse(std::as_bytes(std::span(bytes)))); });

  const test::ScratchFolder folder;
  file.write(folder / "odd.onnx");
  const std::vector<std::string> lines = Model::unsupported(folder / "odd.onnx");
  CHECK(lines.size() >= named.size());
  check_error(ErrorCode::Unsupported, {"odd.onnx"},
              [&] { static_cast<void>(Model::load(folder / "odd.onnx")); });
}

TEST_CASE("versions outside the known range are refused by number") {
  ModelFile old = ModelFile::small();
  old.model.mutable_opset_import(0)->set_version(6);
  check_error(ErrorCode::Unsupported, {"opset 6", "7 to"}, [&] { old.read(); });
  old.model.mutable_opset_import(0)->set_version(ember::onnx::kNewestOpset + 1);
  check_error(ErrorCode::Unsupported, {"opset 29"}, [&] { old.read(); });
  ModelFile ir = ModelFile::small();
  ir.model.set_ir_version(1000);
  check_error(ErrorCode::Unsupported, {"IR version 1000"}, [&] { ir.read(); });
}

TEST_CASE("every known opset and the newest IR version are read") {
  for (int opset = ember::onnx::kOldestOpset; opset <= ember::onnx::kNewestOpset; ++opset) {
    ModelFile file = ModelFile::small();
    file.model.set_ir_version(14);
    file.model.mutable_opset_import(0)->set_version(opset);
    CHECK(file.read().metadata.opsets.at("") == opset);
  }
}
