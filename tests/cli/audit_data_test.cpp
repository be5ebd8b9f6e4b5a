#include <doctest/doctest.h>

#include <cmath>

#include <zip.h>

#include <nlohmann/json.hpp>

#include <ember/npy.hpp>

#include "command.hpp"
#include "model_files.hpp"

using namespace ember;
using namespace ember::test;

namespace {

struct AuditData : Shell {
  AuditData() { small_model().save(folder / "m.onnx"); }

  std::string save(const Tensor& tensor) const {
    save_npy(folder / "x.npy", tensor.view());
    return "x.npy";
  }
  void refuse(const std::string& arguments, const std::vector<std::string>& words) const {
    CAPTURE(arguments);
    const Outcome outcome = ember("audit m.onnx --json out.json --data " + arguments);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    for (const std::string& word : words)
      CHECK_MESSAGE(contains(outcome.err, word), word << " in " << outcome.err);
    CHECK_FALSE(exists("out.json"));
  }
};

/// An .npy header and nothing behind it that NumPy would not unpickle.
std::string object_array() {
  std::string header = "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n";
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header + "pickle";
}

}  // namespace

TEST_CASE_FIXTURE(AuditData, "audit: data of a wrong kind, rank or size is refused by name") {
  refuse("absent.npy", {"absent.npy"});
  refuse(save(Tensor(DataType::Float32, Shape{0, 3})), {"x.npy", "no samples"});
  refuse(save(Tensor(DataType::Float32, Shape{5, 4})), {"x.npy", "[4]", "[3]"});
  refuse(save(Tensor(DataType::Float32, Shape{3})), {"x.npy"});
  refuse(save(Tensor::scalar(1.0F)), {"x.npy", "first axis"});
  write_file(folder / "c.npy", std::string("\x93NUMPY\x01\x00", 8) + "\x3a" + '\0' +
                                   "{'descr': '<c8', 'fortran_order': False, 'shape': (1, 3)}\n" +
                                   std::string(24, '\0'));
  refuse("c.npy", {"c.npy", "'<c8'", "astype"});
  write_file(folder / "o.npy", object_array());
  refuse("o.npy", {"o.npy", "object"});
  save_npz(folder / "d.npz", {{"pixels", Tensor(DataType::Float32, Shape{2, 3})}});
  refuse("d.npz", {"d.npz", "'pixels'"});
  write_file(folder / "p.json", R"({"meen": 1})");
  refuse(save(Tensor(DataType::Float32, Shape{2, 3})) + " --preprocess p.json", {"p.json", "meen"});
}

TEST_CASE_FIXTURE(AuditData, "audit: an .npz with an object array is refused by the array's name") {
  int code = 0;
  zip_t* archive = zip_open((folder / "d.npz").c_str(), ZIP_CREATE, &code);
  REQUIRE(archive != nullptr);
  const std::string bytes = object_array();
  REQUIRE(zip_file_add(archive, "x.npy", zip_source_buffer(archive, bytes.data(), bytes.size(), 0), 0) >= 0);
  REQUIRE(zip_close(archive) == 0);
  refuse("d.npz", {"'x'", "d.npz", "object"});
}

TEST_CASE_FIXTURE(AuditData, "audit: NaN in the data is counted, not dropped") {
  const std::string file = save(Tensor(Shape{3, 3}, std::vector<float>{1, 2, 3, NAN, 5, 6, 7, 8, INFINITY}));
  const Outcome outcome = ember("audit m.onnx --json out.json --data " + file);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  const auto json = nlohmann::json::parse(file_text(folder / "out.json"));
  CHECK(json.at("samples") == 3);
  CHECK(contains(json.dump(), "not_finite"));
}

TEST_CASE_FIXTURE(AuditData, "audit: a disk that is full leaves no report") {
  if (!std::filesystem::exists("/dev/full")) return;
  const std::string file = save(Tensor(DataType::Float32, Shape{2, 3}));
  CHECK(ember("audit m.onnx --json /dev/full --data " + file).status == 2);
  CHECK(ember("audit m.onnx --data " + file + " >/dev/full").status == 2);
}
