#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "onnx/model_file.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using test::check_error;
using test::ModelFile;

namespace {

/// A folder with weights.bin (16 floats: 0, 1, 2, …) and a model beside it.
struct Fixture {
  test::ScratchFolder folder;
  ModelFile file = ModelFile::small();

  Fixture() {
    std::filesystem::create_directory(folder / "model");
    std::filesystem::create_directory(folder / "model/parts");
    for (const char* name : {"model/parts/weights.bin", "outside.bin"}) {
      std::ofstream stream(folder / name, std::ios::binary);
      for (int i = 0; i < 16; ++i) {
        const auto value = static_cast<float>(i);
        stream.write(reinterpret_cast<const char*>(&value), sizeof value);
      }
    }
  }

  void weight(const std::string& name, std::vector<std::pair<std::string, std::string>> entries,
              std::int64_t elements = 4) {
    auto& tensor = file.initializer(name, 1, {elements});
    tensor.set_data_location(::onnx::TensorProto::EXTERNAL);
    for (const auto& [key, value] : entries) {
      auto& entry = *tensor.add_external_data();
      entry.set_key(key);
      entry.set_value(value);
    }
  }

  graph::Graph read() {
    file.write(folder / "model/net.onnx");
    return ember::onnx::read_file(folder / "model/net.onnx");
  }

  void refused(const std::string& location, const std::vector<std::string>& parts, ErrorCode code) {
    weight("w", {{"location", location}, {"length", "16"}});
    check_error(code, parts, [&] { read(); });
  }
};

const std::string kFile = "parts/weights.bin";

}  // namespace

TEST_CASE_FIXTURE(Fixture, "external data is read at its offset") {
  weight("w", {{"location", kFile}, {"offset", "8"}, {"length", "16"}});
  weight("tied", {{"location", kFile}, {"offset", "8"}, {"length", "16"}});
  weight("rest", {{"location", kFile}, {"offset", "48"}});
  const graph::Graph graph = read();
  CHECK(graph.constant(graph.find_value("w"))->data<float>()[0] == 2.0F);
  CHECK(graph.constant(graph.find_value("rest"))->data<float>()[3] == 15.0F);
  CHECK(graph.constant(graph.find_value("w"))->raw() == graph.constant(graph.find_value("tied"))->raw());
}

TEST_CASE_FIXTURE(Fixture, "a model given by its bare name finds data in the present folder") {
  weight("w", {{"location", kFile}, {"length", "16"}});
  file.write(folder / "model/net.onnx");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder / "model");
  CHECK_NOTHROW(ember::onnx::read_file("net.onnx"));
  std::filesystem::current_path(before);
}

TEST_CASE_FIXTURE(Fixture, "a path that leaves the model's folder is refused") {
  SUBCASE("upwards") { refused("../outside.bin", {"'w'", "'..'"}, ErrorCode::InvalidModel); }
  SUBCASE("down and up") { refused("parts/../../outside.bin", {"'..'"}, ErrorCode::InvalidModel); }
  SUBCASE("absolute") { refused((folder / "outside.bin").string(), {"absolute"}, ErrorCode::InvalidModel); }
  SUBCASE("by a symbolic link to a file") {
    std::filesystem::create_symlink(folder / "outside.bin", folder / "model/link.bin");
    refused("link.bin", {"symbolic link"}, ErrorCode::InvalidModel);
  }
  SUBCASE("by a symbolic link to a folder") {
    std::filesystem::create_directory_symlink(folder.path(), folder / "model/up");
    refused("up/outside.bin", {"symbolic link"}, ErrorCode::InvalidModel);
  }
}

TEST_CASE_FIXTURE(Fixture, "external data that is not what the tensor needs is refused") {
  SUBCASE("no such file") { refused("parts/absent.bin", {"absent.bin"}, ErrorCode::Io); }
  SUBCASE("a folder") { refused("parts", {"regular"}, ErrorCode::Io); }
  SUBCASE("no location") { refused("", {"no usable name"}, ErrorCode::InvalidModel); }
  SUBCASE("beyond the end") {
    weight("w", {{"location", kFile}, {"offset", "1000"}});
    check_error(ErrorCode::InvalidModel, {"'w'", "64 bytes"}, [&] { read(); });
  }
  SUBCASE("more than the file has") {
    weight("w", {{"location", kFile}, {"length", "4000000000"}}, 1000000000);
    check_error(ErrorCode::InvalidModel, {"'w'", "4000000000 bytes"}, [&] { read(); });
  }
  SUBCASE("a length that is not the tensor's") {
    weight("w", {{"location", kFile}, {"length", "12"}});
    check_error(ErrorCode::InvalidModel, {"12 of the tensor's 16"}, [&] { read(); });
  }
  SUBCASE("an offset that is no number") {
    weight("w", {{"location", kFile}, {"offset", "-4"}});
    check_error(ErrorCode::InvalidModel, {"'-4'"}, [&] { read(); });
  }
  SUBCASE("regions that overlap without end") {
    for (int i = 0; i < 13; ++i) {
      weight("w" + std::to_string(i),
             {{"location", kFile}, {"offset", std::to_string(4 * i)}, {"length", "16"}});
    }
    check_error(ErrorCode::InvalidModel, {"overlap"}, [&] { read(); });
  }
}

TEST_CASE_FIXTURE(Fixture, "a model from memory has no folder") {
  weight("w", {{"location", kFile}, {"length", "16"}});
  check_error(ErrorCode::InvalidModel, {"'w'", "memory"}, [&] { file.read(); });
}
