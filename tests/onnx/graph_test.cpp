#include <doctest/doctest.h>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "core/sha256.hpp"
#include "onnx/message_io.hpp"
#include "onnx/model_file.hpp"
#include "onnx/write.hpp"
#include "support/graph_equal.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using test::ModelFile;

namespace {

::onnx::GraphProto& branch(::onnx::NodeProto& node, const std::string& name) {
  auto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(::onnx::AttributeProto::GRAPH);
  attribute.mutable_g()->set_name(name);
  return *attribute.mutable_g();
}

/// y = If(c): then Relu(x), else If(c): then Add(x, w) else x of the outermost graph as it is.
ModelFile nested() {
  ModelFile file;
  file.input("c", 9);
  file.input("x");
  file.initializer("w", 1, {1}).add_float_data(2);
  auto& outer = file.node("If", {"c"}, {"y"});
  auto& then_branch = branch(outer, "then_branch");
  ModelFile::node(then_branch, "Relu", {"x"}, {"positive"});
  then_branch.add_output()->set_name("positive");
  auto& else_branch = branch(outer, "else_branch");
  auto& inner = ModelFile::node(else_branch, "If", {"c"}, {"chosen"});
  auto& inner_then = branch(inner, "then_branch");
  ModelFile::node(inner_then, "Add", {"x", "w"}, {"sum"});
  inner_then.add_output()->set_name("sum");
  branch(inner, "else_branch").add_output()->set_name("x");
  else_branch.add_output()->set_name("chosen");
  file.output("y");
  return file;
}

std::vector<std::string> names(const graph::Graph& graph, const std::vector<graph::ValueId>& ids) {
  std::vector<std::string> found;
  for (const graph::ValueId id : ids) found.push_back(graph.value(id).name);
  return found;
}

/// What protobuf makes of a model in one go.
std::string written_by_protobuf(const ::onnx::ModelProto& model) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  CHECK(model.SerializeToCodedStream(&coded));
  coded.Trim();
  return bytes;
}

/// Pieces written one after the other are what protobuf would write.
void check_pieces(const graph::Graph& graph) {
  const auto bytes = ember::onnx::write_bytes(graph);
  const std::string written(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  ::onnx::ModelProto model;
  REQUIRE(model.ParseFromString(written));
  CHECK(written_by_protobuf(model) == written);
  CHECK(ember::onnx::count_bytes(graph) == bytes.size());
  CHECK(ember::onnx::hash_bytes(graph) == sha256_hex(bytes));
}

void check_round_trip(const graph::Graph& graph) {
  check_pieces(graph);
  const auto bytes = ember::onnx::write_bytes(graph);
  const graph::Graph again = ember::onnx::read_bytes(bytes);
  CHECK(test::graph_difference(graph, again) == "");
  CHECK(ember::onnx::write_bytes(again) == bytes);
}

}  // namespace

TEST_CASE("subgraphs capture outer values through every level") {
  const graph::Graph graph = nested().read();
  const graph::Node& outer = graph.node(graph.order().front());
  // In attribute-name order: else_branch (as its nodes meet them), then then_branch.
  CHECK(names(graph, outer.captures) == std::vector<std::string>{"x", "w", "c", "x"});
  const auto sub = std::get<std::shared_ptr<const graph::Graph>>(outer.attributes.at("else_branch"));
  const graph::Node& inner = sub->node(sub->order().front());
  CHECK(inner.captures.size() == 3);
  CHECK(sub->captured.size() == 3);
  CHECK(sub->metadata.opsets.at("") == 17);
  check_round_trip(graph);
}

TEST_CASE("the writer follows captures that were rewired") {
  graph::Graph graph = nested().read();
  const graph::NodeId conditional = graph.order().front();
  graph::Node relu{.name = "extra", .op = "Relu"};
  relu.inputs = {graph.find_value("x")};
  // The name hides nothing outside but clashes with one inside the branch.
  relu.outputs = {graph.add_value("positive", DataType::Float32)};
  graph.add_node(relu, conditional);
  const graph::ValueId x = graph.find_value("x");
  const graph::ValueId positive = graph.find_value("positive");
  for (std::size_t i = 0; i < graph.node(conditional).captures.size(); ++i) {
    if (graph.node(conditional).captures[i] == x)
      graph.set_capture(conditional, static_cast<int>(i), positive);
  }
  graph::verify(graph);
  const graph::Graph again = ember::onnx::read_bytes(ember::onnx::write_bytes(graph));
  const graph::Node& written = again.node(again.order().back());
  for (const std::string& name : names(again, written.captures)) CHECK(name != "x");
  const auto sub = std::get<std::shared_ptr<const graph::Graph>>(written.attributes.at("then_branch"));
  CHECK(names(*sub, sub->captured) == std::vector<std::string>{"positive"});
  CHECK(sub->value(sub->outputs[0]).name == "positive_inner");
  check_round_trip(again);
}

TEST_CASE("nodes may come in any order") {
  ModelFile file;
  file.input("x");
  file.node("Relu", {"a"}, {"y"});
  file.node("Relu", {"x"}, {"a"});
  file.output("y");
  const graph::Graph graph = file.read();
  CHECK(graph.node(graph.order().front()).name == "Relu_of_a");
  check_round_trip(graph);
}

TEST_CASE("an initialiser that is listed as an input is a constant") {
  for (const int ir : {3, 4, 8}) {
    CAPTURE(ir);
    ModelFile file(9, ir);
    file.input("x");
    file.input("w");
    file.initializer("w", 1, {1}).add_float_data(2);
    file.node("Add", {"x", "w"}, {"y"});
    file.output("y");
    const graph::Graph graph = file.read();
    CHECK(names(graph, graph.inputs) == std::vector<std::string>{"x"});
    CHECK(graph.constant(graph.find_value("w")) != nullptr);
    check_round_trip(graph);
    ::onnx::ModelProto written;
    const auto bytes = ember::onnx::write_bytes(graph);
    REQUIRE(written.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    CHECK(written.graph().input_size() == (ir < 4 ? 2 : 1));
  }
}

TEST_CASE("names, metadata, open extents and every kind of attribute survive a round trip") {
  ModelFile file(13);
  auto& model = file.model;
  model.set_producer_name("a trainer");
  model.set_producer_version("1.2");
  model.set_domain("org.example");
  model.set_model_version(7);
  model.set_doc_string("about the model");
  file.graph().set_doc_string("about the graph");
  auto& entry = *model.add_metadata_props();
  entry.set_key("licence");
  entry.set_value("free");
  auto& extra = *model.add_opset_import();
  extra.set_domain("com.example");
  extra.set_version(3);

  file.input("x", 1, {-1, 3});
  auto& shape = *file.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape();
  shape.mutable_dim(0)->set_dim_param("batch");
  shape.add_dim();
  auto& node = file.node("Custom", {"x", "", "x"}, {"", "y", ""});
  node.set_domain("com.example");
  node.set_doc_string("about the node");
  const auto add = [&](const std::string& name) -> ::onnx::AttributeProto& {
    auto& attribute = *node.add_attribute();
    attribute.set_name(name);
    return attribute;
  };
  add("f").set_f(0.1F);
  add("i").set_i(-3);
  add("s").set_s(std::string("\0binary", 7));
  add("fs").add_floats(1.5F);
  add("is").add_ints(4);
  add("ss").add_strings("text");
  auto& none = add("none");
  none.set_type(::onnx::AttributeProto::INTS);
  auto& tensor = *add("t").mutable_t();
  tensor.set_data_type(10);
  tensor.add_dims(2);
  tensor.add_int32_data(1);
  tensor.add_int32_data(2);
  ModelFile::describe(*file.graph().add_value_info(), "y", 1, {2});
  file.node("Relu", {"y"}, {"z"});
  file.output("z");

  const graph::Graph graph = file.read();
  CHECK(graph.metadata.opsets.at("com.example") == 3);
  CHECK(graph.metadata.properties.at("licence") == "free");
  CHECK((*graph.value(graph.find_value("x")).dims)[0].symbol == "batch");
  CHECK((*graph.value(graph.find_value("x")).dims)[2].size == -1);
  CHECK((*graph.value(graph.find_value("y")).dims)[0].size == 2);
  const graph::Node& read = graph.node(graph.order().front());
  CHECK(read.inputs[1] == graph::kNoValue);
  CHECK(read.outputs.size() == 3);
  CHECK(read.attributes.size() == 8);
  CHECK(std::get<std::vector<std::int64_t>>(read.attributes.at("none")).empty());
  check_round_trip(graph);
}

TEST_CASE("everything that comes before and after the graph and its weights is written around them") {
  ModelFile file;
  file.model.set_producer_name("test");
  file.model.set_producer_version("1.2");
  file.model.set_domain("example");
  file.model.set_model_version(3);
  file.model.set_doc_string("said of the model");
  auto& property = *file.model.add_metadata_props();
  property.set_key("key");
  property.set_value("value");
  file.graph().set_doc_string("said of the graph");
  file.input("x", 1, {300});
  // Lengths of one byte and of two, and none.
  file.initializer("short", 1, {2}).set_raw_data(std::string(8, 'a'));
  file.initializer("long", 1, {300}).set_raw_data(std::string(1200, 'b'));
  file.initializer("empty", 1, {0}).set_raw_data("");
  file.node("Add", {"x", "long"}, {"y"});
  file.output("y");
  check_round_trip(file.read());
  file.model.set_ir_version(3);  // initialisers are inputs as well
  check_round_trip(file.read());
}

TEST_CASE("large weights are read to where they stay, however they come") {
  std::vector<float> values(2000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const std::string raw(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  ModelFile file;
  file.input("x", 1, {2000});
  file.initializer("small", 1, {1}).set_raw_data(raw.substr(4, 4));
  file.initializer("raw", 1, {2000}).set_raw_data(raw);
  auto& listed = file.initializer("listed", 1, {2000});
  for (const float value : values) listed.add_float_data(value);
  file.node("Sum", {"x", "small", "raw", "listed"}, {"y"});
  file.output("y");
  std::string bytes = file.bytes();
  /// A message may come in parts: one more initialiser, with raw data given twice.
  const auto append = [&](const std::string& name, const std::string& first, const std::string& second) {
    ::onnx::TensorProto tensor;
    tensor.set_name(name);
    tensor.set_data_type(1);
    tensor.add_dims(static_cast<std::int64_t>(second.size() / sizeof(float)));
    tensor.set_raw_data(first);
    std::string written = tensor.SerializeAsString();
    ember::onnx::append_prefix(::onnx::TensorProto::kRawDataFieldNumber, second.size(), written);
    written += second;
    std::string graph;
    ember::onnx::append_prefix(::onnx::GraphProto::kInitializerFieldNumber, written.size(), graph);
    graph += written;
    ember::onnx::append_prefix(::onnx::ModelProto::kGraphFieldNumber, graph.size(), bytes);
    bytes += graph;
  };
  append("long", raw.substr(8, 4), raw);
  append("short", raw, raw.substr(8, 4));
  const graph::Graph graph = test::read_model(bytes);
  const auto elements = [&](const char* name) {
    const auto data = graph.constant(graph.find_value(name))->data<float>();
    return std::vector<float>(data.begin(), data.end());
  };
  CHECK(elements("small") == std::vector<float>{1});
  CHECK(elements("raw") == values);
  CHECK(elements("listed") == values);
  CHECK(elements("long") == values);
  CHECK(elements("short") == std::vector<float>{2});
  check_round_trip(graph);
  // Cut anywhere it is an error, or lacks what was appended.
  for (std::size_t length = 0; length < bytes.size(); length += 997)
    test::check_error(ErrorCode::InvalidModel, {}, [&] { test::read_model(bytes.substr(0, length)); });
}

TEST_CASE("ai.onnx spelt out is the default domain") {
  ModelFile file = ModelFile::small();
  file.model.mutable_opset_import(0)->set_domain("ai.onnx");
  file.graph().mutable_node(0)->set_domain("ai.onnx");
  const graph::Graph graph = file.read();
  CHECK(graph.opset(graph.node(graph.order().front())) == 17);
}

TEST_CASE("a file that cannot be written leaves nothing behind") {
  const test::ScratchFolder folder;
  const graph::Graph graph = ModelFile::small().read();
  ember::onnx::write_file(graph, folder / "net.onnx");
  CHECK(test::graph_difference(graph, ember::onnx::read_file(folder / "net.onnx")) == "");
  test::check_error(ErrorCode::Io, {"absent"},
                    [&] { ember::onnx::write_file(graph, folder / "absent/net.onnx"); });
  test::check_error(ErrorCode::Io, {}, [&] { ember::onnx::write_file(graph, "/dev/full"); });
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++files;
  CHECK(files == 1);
}
