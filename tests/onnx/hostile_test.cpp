#include <random>
#include <string>

#include <doctest/doctest.h>

#include "onnx/model_file.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using test::check_error;
using test::ModelFile;

TEST_CASE("a file cut anywhere is an error or a whole model, never a crash") {
  ModelFile file = ModelFile::small();
  file.initializer("w", 1, {2}).set_raw_data(std::string(8, 'a'));
  const std::string bytes = file.bytes();
  int refused = 0;
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    try {
      test::read_model(bytes.substr(0, length));
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > static_cast<int>(bytes.size()) / 2);
}

TEST_CASE("random and randomly changed bytes give an Error at worst") {
  std::mt19937 generator(3);
  const std::string model = ModelFile::small().bytes();
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = model;
    if (round % 3 == 0) bytes.assign(1 + generator() % 300, '\0');
    for (char& byte : bytes) {
      if (round % 3 == 0 || generator() % 10 == 0) byte = static_cast<char>(generator());
    }
    try {
      test::read_model(bytes);
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 2000);
}

TEST_CASE("what is no model file is refused by name") {
  const test::ScratchFolder folder;
  std::ofstream(folder / "empty.onnx").flush();
  check_error(ErrorCode::InvalidModel, {"empty.onnx", "empty"},
              [&] { ember::onnx::read_file(folder / "empty.onnx"); });
  check_error(ErrorCode::Io, {"folder"}, [&] { ember::onnx::read_file(folder.path()); });
  check_error(ErrorCode::Io, {"absent.onnx", "No such file"},
              [&] { ember::onnx::read_file(folder / "absent.onnx"); });
  check_error(ErrorCode::Io, {"regular"}, [&] { ember::onnx::read_file("/dev/zero"); });
  check_error(ErrorCode::InvalidModel, {"<memory>"}, [] { test::read_model("no model at all"); });
  std::filesystem::resize_file(folder / "empty.onnx", std::uintmax_t{3} << 30);
  check_error(ErrorCode::ResourceLimit, {"2 GB"}, [&] { ember::onnx::read_file(folder / "empty.onnx"); });
}

TEST_CASE("a tensor cannot claim elements that are not there") {
  ModelFile file = ModelFile::small();
  file.node("Relu", {"w"}, {"z"});
  SUBCASE("1 GB, nothing there") {
    file.initializer("w", 1, {268435456});
    CHECK(file.bytes().size() < 200);
    check_error(ErrorCode::InvalidModel, {"'w'", "268435456"}, [&] { file.read(); });
  }
  SUBCASE("1 GB raw, four bytes there") {
    file.initializer("w", 1, {268435456}).set_raw_data("1234");
    check_error(ErrorCode::InvalidModel, {"'w'", "4 bytes"}, [&] { file.read(); });
  }
  SUBCASE("int8 in int32 fields") {
    file.initializer("w", 3, {1 << 30}).add_int32_data(1);
    check_error(ErrorCode::InvalidModel, {"'w'"}, [&] { file.read(); });
  }
  SUBCASE("more than it claims") {
    file.initializer("w", 1, {1}).set_raw_data("12345678");
    check_error(ErrorCode::InvalidModel, {"'w'", "8 bytes"}, [&] { file.read(); });
  }
  SUBCASE("a negative extent") {
    file.initializer("w", 1, {-1, 4});
    check_error(ErrorCode::InvalidModel, {"'w'", "negative"}, [&] { file.read(); });
  }
  SUBCASE("extents whose product overflows") {
    file.initializer("w", 1, {std::int64_t{1} << 40, std::int64_t{1} << 40});
    check_error(ErrorCode::ResourceLimit, {"'w'", "overflow"}, [&] { file.read(); });
  }
  SUBCASE("a byte count that overflows") {
    file.initializer("w", 11, {std::int64_t{1} << 61}).set_raw_data("1234");
    check_error(ErrorCode::InvalidModel, {"'w'", "overflow"}, [&] { file.read(); });
  }
  SUBCASE("too many axes") {
    file.initializer("w", 1, std::vector<std::int64_t>(100, 1)).set_raw_data("1234");
    check_error(ErrorCode::ResourceLimit, {"'w'", "rank 100"}, [&] { file.read(); });
  }
}

TEST_CASE("wiring that makes no graph is named") {
  ModelFile file = ModelFile::small();
  SUBCASE("a cycle") {
    file.node("Add", {"x", "b"}, {"a"});
    file.node("Relu", {"a"}, {"b"});
    check_error(ErrorCode::InvalidModel, {"cycle", "Add_of_a"}, [&] { file.read(); });
  }
  SUBCASE("a node that feeds itself") {
    file.node("Add", {"x", "a"}, {"a"});
    check_error(ErrorCode::InvalidModel, {"cycle"}, [&] { file.read(); });
  }
  SUBCASE("a value nobody makes") {
    file.node("Relu", {"ghost"}, {"a"});
    check_error(ErrorCode::InvalidModel, {"ghost", "Relu_of_a", "opset 17"}, [&] { file.read(); });
  }
  SUBCASE("a value made twice") {
    file.node("Relu", {"x"}, {"y"});
    check_error(ErrorCode::InvalidModel, {"'y'", "two values"}, [&] { file.read(); });
  }
  SUBCASE("an input made by a node") {
    file.node("Relu", {"y"}, {"x"});
    check_error(ErrorCode::InvalidModel, {"'x'", "two values"}, [&] { file.read(); });
  }
  SUBCASE("an input listed twice") {
    file.input("x");
    check_error(ErrorCode::InvalidModel, {"'x'"}, [&] { file.read(); });
  }
  SUBCASE("an output listed twice") {
    file.output("y");
    check_error(ErrorCode::InvalidModel, {"'y'", "twice"}, [&] { file.read(); });
  }
  SUBCASE("an output nobody makes") {
    file.output("ghost");
    check_error(ErrorCode::InvalidModel, {"'ghost'"}, [&] { file.read(); });
  }
  SUBCASE("an initialiser given twice") {
    file.initializer("w", 1, {1}).add_float_data(1);
    file.initializer("w", 1, {1}).add_float_data(1);
    check_error(ErrorCode::InvalidModel, {"'w'"}, [&] { file.read(); });
  }
  SUBCASE("an attribute given twice") {
    auto& node = file.node("Relu", {"x"}, {"a"});
    for (int i = 0; i < 2; ++i) {
      auto& attribute = *node.add_attribute();
      attribute.set_name("alpha");
      attribute.set_f(1);
    }
    check_error(ErrorCode::InvalidModel, {"'alpha'", "twice"}, [&] { file.read(); });
  }
  SUBCASE("no operator type") {
    file.node("", {"x"}, {"a"});
    check_error(ErrorCode::InvalidModel, {"no operator type"}, [&] { file.read(); });
  }
  SUBCASE("no opset") {
    file.model.clear_opset_import();
    check_error(ErrorCode::InvalidModel, {"opset"}, [&] { file.read(); });
  }
  SUBCASE("an input without a type") {
    file.graph().add_input()->set_name("untyped");
    check_error(ErrorCode::InvalidModel, {"'untyped'"}, [&] { file.read(); });
  }
}

TEST_CASE("subgraphs nested without end are refused") {
  ModelFile file = ModelFile::small();
  ::onnx::GraphProto* at = &file.graph();
  for (int depth = 0; depth < 5000; ++depth) {
    auto& attribute = *ModelFile::node(*at, "If", {}, {}).add_attribute();
    attribute.set_name("then_branch");
    attribute.set_type(::onnx::AttributeProto::GRAPH);
    at = attribute.mutable_g();
  }
  check_error(ErrorCode::InvalidModel, {"nested"}, [&] { file.read(); });
}

TEST_CASE("a hundred thousand users of one value are handled in reasonable time") {
  ModelFile file = ModelFile::small();
  for (int i = 0; i < 100000; ++i) {
    auto& node = *file.graph().add_node();
    node.set_op_type("Relu");
    node.add_input("x");
    node.add_output("v" + std::to_string(i));
  }
  graph::Graph graph = file.read();
  CHECK(graph.order().size() == 100001);
  CHECK(graph.remove_dead() == 100000);
  CHECK_NOTHROW(graph::verify(graph));
}
