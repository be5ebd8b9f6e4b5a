#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "command.hpp"
#include "model_files.hpp"

using namespace ember;
using namespace ember::test;

namespace {

struct BadModel : Shell {
  /// Every verb must refuse it with these words, quickly and within half a gigabyte.
  void refuse(const std::string& bytes, const std::vector<std::string>& words) const {
    write_file(folder / "m.onnx", bytes);
    for (const char* verb :
         {"info m.onnx", "run m.onnx --input x.npy --output-dir out", "bench m.onnx --seconds 0"}) {
      CAPTURE(verb);
      const Outcome outcome = shell(kMemoryLimit + ("\"" EMBER_BINARY_DIR "/ember\" " + std::string(verb)));
      CHECK(outcome.status == 2);
      CHECK(outcome.out.empty());
      CHECK(contains(outcome.err, "ember: "));
      for (const std::string& word : words)
        CHECK_MESSAGE(contains(outcome.err, word), word << " in " << outcome.err);
      CHECK_FALSE(exists("out"));
    }
  }
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  const std::string kMemoryLimit;  // sanitizers reserve address space without end
#else
  const std::string kMemoryLimit = "ulimit -v 524288; ";
#endif
};

}  // namespace

TEST_CASE_FIXTURE(BadModel, "bad model: absent, empty, random, truncated") {
  const Outcome absent = ember("info absent.onnx");
  CHECK(absent.status == 2);
  CHECK(contains(absent.err, "absent.onnx"));
  refuse("", {"m.onnx"});
  std::string noise(5000, '\0');
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(i * i * 2654435761U >> 13);
  refuse(noise, {"m.onnx"});
  const std::string good = small_model().bytes();
  for (const std::size_t length : {good.size() / 4, good.size() / 2, good.size() - 1}) {
    CAPTURE(length);
    refuse(good.substr(0, length), {"m.onnx"});
  }
}

TEST_CASE_FIXTURE(BadModel, "bad model: a gigabyte claimed in a small file") {
  ModelFile raw = small_model();
  raw.weight("huge", {16384, 16384}).set_raw_data("few");
  refuse(raw.node("Add", {"x", "huge"}, "z").bytes(), {"'huge'"});
  ModelFile typed = small_model();
  typed.weight("huge", {std::int64_t{1} << 40, std::int64_t{1} << 40}).add_float_data(1);
  refuse(typed.node("Add", {"x", "huge"}, "z").bytes(), {"'huge'"});
}

TEST_CASE_FIXTURE(BadModel,
                  "bad model: a cycle, an input from nowhere, an external path that leaves the folder") {
  refuse(ModelFile()
             .input("x", {1, 3})
             .output("b", {1, 3})
             .node("Add", {"x", "b"}, "a")
             .node("Relu", {"a"}, "b")
             .bytes(),
         {"cycle"});
  refuse(ModelFile().input("x", {1, 3}).output("y", {1, 3}).node("Add", {"x", "nowhere"}, "y").bytes(),
         {"nowhere"});
  for (const char* path : {"../secret.bin", "/etc/passwd", "a/../../secret.bin"}) {
    CAPTURE(path);
    ModelFile file = small_model();
    onnx::TensorProto& tensor = file.weight("v", {3});
    tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    auto& entry = *tensor.add_external_data();
    entry.set_key("location");
    entry.set_value(path);
    refuse(file.node("Add", {"x", "v"}, "z").bytes(), {"'v'"});
  }
}

TEST_CASE_FIXTURE(BadModel,
                  "bad model: every unknown operator is named at once, and info still describes it") {
  ModelFile file;
  file.input("x", {1, 3}).output("y", {1, 3}).node("Frobnicate", {"x"}, "f").node("Defenestrate", {"f"}, "y");
  file.save(folder / "m.onnx");
  const Outcome run = ember("run m.onnx --input x.npy");
  CHECK(run.status == 2);
  for (const char* word : {"Frobnicate", "f_node", "Defenestrate", "y_node"}) CHECK(contains(run.err, word));
  const Outcome info = ember("info m.onnx");
  CHECK(info.status == 0);
  CHECK(contains(info.out, "1 Frobnicate"));
  CHECK(contains(info.out, "unsupported"));
  const auto json = nlohmann::json::parse(ember("info m.onnx --json").out);
  CHECK(json.at("runs") == false);
  CHECK(json.at("unsupported").size() == 2);
}
