#include <ember/model.hpp>

#include <algorithm>

#include <doctest/doctest.h>

#include <ember/error.hpp>

#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;

namespace {

/// x [N,4] -> MatMul -> Add -> y, with a scalar and an index that are no weights.
Model small_model() {
  test::GraphBuilder b(17);
  b.graph().metadata.producer_name = "tests";
  b.graph().metadata.producer_version = "3";
  const auto x = b.input("x", DataType::Float32, {-1, 4});
  const auto product = b.op("MatMul", "product", {x, b.constant("w", test::random_tensor(Shape{4, 3}, 1))});
  const auto sum = b.op("Add", "sum", {product, b.constant("b", test::random_tensor(Shape{3}, 2))});
  const auto scaled = b.op("Mul", "scaled", {sum, b.constant("factor", Tensor::scalar(2.0F))});
  const auto axis = b.constant("axis", Tensor(Shape{1}, std::vector<std::int64_t>{0}));
  b.constant("unread", test::random_tensor(Shape{100}, 3));
  b.output(b.op("Unsqueeze", "y", {scaled, axis}));
  return Model(std::make_shared<const graph::Graph>(b.graph()));
}

}  // namespace

TEST_CASE("a model tells what it is") {
  const ModelInfo info = small_model().info();
  CHECK(info.producer == "tests 3");
  CHECK(info.opsets.at("ai.onnx") == 17);
  REQUIRE(info.inputs.size() == 1);
  CHECK(info.inputs[0].name == "x");
  CHECK(info.inputs[0].type == DataType::Float32);
  CHECK(info.inputs[0].dims[0].size == -1);
  CHECK(info.inputs[0].dims[0].symbol == "N");
  CHECK(info.inputs[0].dims[1].size == 4);
  CHECK(info.outputs[0].name == "y");
  CHECK(info.nodes == 4);
  CHECK(info.operators.at("MatMul") == 1);
  // w and b; scalars, indices and constants nobody reads are not weights.
  CHECK(info.parameters == 15);
  CHECK(info.parameter_bytes == 60);
}

TEST_CASE("a model survives its file and its bytes") {
  const test::ScratchFolder folder;
  const Model model = small_model();
  model.save(folder / "net.onnx");
  const Model loaded = Model::load(folder / "net.onnx");
  CHECK(loaded.name() == (folder / "net.onnx").string());
  CHECK(loaded.serialize() == model.serialize());
  const Model parsed = Model::parse(model.serialize());
  CHECK(parsed.name() == "<memory>");
  CHECK(parsed.info().parameters == 15);
  CHECK(Model::unsupported(folder / "net.onnx").empty());
}

TEST_CASE("the operators are listed with their opset ranges") {
  const std::vector<OperatorInfo> operators = supported_operators();
  const auto find = [&](const std::string& name) {
    const auto found = std::ranges::find(operators, name, &OperatorInfo::name);
    REQUIRE(found != operators.end());
    return *found;
  };
  CHECK(find("Identity").domain == "ai.onnx");
  CHECK(find("Identity").first_opset == 7);
  CHECK(find("Identity").last_opset == 0);
  CHECK(find("Upsample").last_opset == 9);
  for (const OperatorInfo& op : operators) {
    CAPTURE(op.name);
    CHECK(std::ranges::is_sorted(op.versions));
    CHECK((op.last_opset == 0 || op.last_opset >= op.first_opset));
    if (op.domain == "ai.onnx") CHECK(op.versions.back() <= newest_opset());
  }
}
