#include <doctest/doctest.h>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include <ember/npy.hpp>

#include "command.hpp"
#include "model_files.hpp"

using namespace ember;
using namespace ember::test;

namespace {

struct Run : Shell {
  Run() {
    small_model().save(folder / "m.onnx");
    save_npy(folder / "x.npy", input().view());
  }
  static Tensor input() { return Tensor(Shape{2, 3}, std::vector<float>{-5, 0, 1, 2, -3, 4}); }
  static Tensor output() { return Tensor(Shape{2, 3}, std::vector<float>{0, 2, 4, 3, 0, 7}); }
  void save_case(std::map<std::string, Tensor> arrays) const { save_npz(folder / "case.npz", arrays); }
  void refuse(const std::string& arguments, const std::vector<std::string>& words) const {
    CAPTURE(arguments);
    const Outcome outcome = ember("run m.onnx --output-dir out " + arguments);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    for (const std::string& word : words)
      CHECK_MESSAGE(contains(outcome.err, word), word << " in " << outcome.err);
    CHECK_FALSE(exists("out"));
  }
};

}  // namespace

TEST_CASE_FIXTURE(Run, "run: writes every output") {
  for (const char* arguments :
       {"--input x=x.npy", "--input x.npy", "--input x.npy --threads 2", "--input=x.npy --reference",
        "--input x.npy --disable-pass constant_folding"}) {
    CAPTURE(arguments);
    const Outcome outcome = ember(std::string("run m.onnx --output-dir out ") + arguments);
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
    const Tensor y = load_npy(folder / "out/y.npy");
    CHECK(y.shape() == Shape{2, 3});
    CHECK(std::ranges::equal(y.data<float>(), output().data<float>()));
    std::filesystem::remove_all(folder / "out");
  }
}

TEST_CASE_FIXTURE(Run, "run: compares with what is expected") {
  save_case({{"in/x", input()}, {"out/y", output()}});
  const Outcome passed = ember("run m.onnx --expect case.npz");
  CHECK_MESSAGE(passed.status == 0, passed.err);
  CHECK(contains(passed.out, "pass"));

  Tensor close = output();
  close.data<float>()[3] += 0.01F;
  save_case({{"in/x", input()}, {"out/y", close}});
  const Outcome failed = ember("run m.onnx --expect case.npz");
  CHECK(failed.status == 1);
  CHECK(contains(failed.out, "FAIL"));
  CHECK(contains(failed.out, "1 elements outside"));
  CHECK(ember("run m.onnx --expect case.npz --atol 0.02").status == 0);
  CHECK(ember("run m.onnx --expect case.npz --rtol 0.02").status == 0);
  const auto json = nlohmann::json::parse(ember("run m.onnx --expect case.npz --json").out);
  CHECK(json.at("passed") == false);
  CHECK(json.at("outputs")[0].at("comparison").at("max_abs").get<double>() ==
        doctest::Approx(0.01).epsilon(0.001));

  close.data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  save_case({{"in/x", input()}, {"out/y", close}});
  CHECK(ember("run m.onnx --expect case.npz --atol 1e9").status == 1);
  save_case({{"in/x", input()}, {"out/y", Tensor(Shape{6}, std::vector<float>(6))}});
  CHECK(ember("run m.onnx --expect case.npz").status == 1);
  save_case({{"out/y", output()}});
  CHECK(ember("run m.onnx --expect case.npz --input x.npy").status == 0);
}

TEST_CASE_FIXTURE(Run, "run: a dequantised output may be off by four steps, not by its argmax") {
  ModelFile file;
  file.input("x", {1, 3}).output("y", {1, 3});
  file.node("QuantizeLinear", {"x", "step"}, "q").node("DequantizeLinear", {"q", "step"}, "y");
  file.weight("step", {}).add_float_data(0.5F);
  file.save(folder / "m.onnx");
  const auto outcome_of = [&](std::vector<float> expected) {
    save_case({{"in/x", Tensor(Shape{1, 3}, std::vector<float>{1, 5, 6})},
               {"out/y", Tensor(Shape{1, 3}, std::move(expected))}});
    return ember("run m.onnx --expect case.npz");
  };
  CHECK(outcome_of({1, 5, 6}).status == 0);
  CHECK(outcome_of({3, 5, 8}).status == 0);
  CHECK(outcome_of({3.1F, 5, 8}).status == 1);
  const Outcome swapped = outcome_of({1, 6, 5});
  CHECK(swapped.status == 1);
  CHECK(contains(swapped.out, "another argmax in 1 of 1 samples"));
}

TEST_CASE_FIXTURE(Run, "run: where rounding alone decides, a difference of its size is no failure") {
  constexpr std::int64_t kLength = 300;
  ModelFile file;
  file.input("x", {1, kLength}).output("y", {1, 1}).node("MatMul", {"x", "w"}, "y");
  onnx::TensorProto& weight = file.weight("w", {kLength, 1});
  std::vector<float> x;
  for (std::int64_t i = 0; i < kLength; ++i) {  // terms of 1e9 that cancel
    const auto half = static_cast<float>(i / 2);
    weight.add_float_data(i % 2 == 0 ? 1e4F + half : -1e4F - half);
    x.push_back(1e5F + half / 3);
  }
  file.save(folder / "m.onnx");
  save_npy(folder / "x.npy", Tensor(Shape{1, kLength}, x).view());
  const auto result = [&](const char* arguments) {
    CHECK(ember(std::string("run m.onnx --input x.npy --output-dir out ") + arguments).status == 0);
    return load_npy(folder / "out/y.npy").data<float>()[0];
  };
  const float fast = result("");
  const float spread = fast - result("--reference");
  REQUIRE(std::abs(spread) > 0.01F + std::abs(fast) / 100);  // else the case shows nothing
  const auto outcome_of = [&](float expected) {
    save_case(
        {{"in/x", Tensor(Shape{1, kLength}, x)}, {"out/y", Tensor(Shape{1, 1}, std::vector{expected})}});
    return ember("run m.onnx --expect case.npz");
  };
  const Outcome near = outcome_of(fast + 2 * spread);
  CHECK(near.status == 0);
  CHECK(contains(near.out, "1 ill-conditioned"));
  CHECK(outcome_of(fast + 100 * spread).status == 1);
}

TEST_CASE_FIXTURE(Run, "run: input that does not fit is refused, and nothing is written") {
  refuse("", {"'x'", "missing", "--input x="});
  refuse("--input z=x.npy", {"'x'"});
  refuse("--input x.npy --input x.npy", {"twice"});
  refuse("--input absent.npy", {"absent.npy"});
  save_npy(folder / "double.npy", Tensor(Shape{2, 3}, std::vector<double>(6)).view());
  refuse("--input double.npy", {"float32", "float64"});
  save_npy(folder / "rank.npy", Tensor(Shape{6}, std::vector<float>(6)).view());
  refuse("--input rank.npy", {"'x'"});
  save_npy(folder / "dim.npy", Tensor(Shape{2, 4}, std::vector<float>(8)).view());
  refuse("--input dim.npy", {"'x'"});
  write_file(folder / "text.npy", "1, 2, 3");
  refuse("--input text.npy", {"text.npy"});
  save_case({{"in/x", input()}});
  refuse("--expect case.npz", {"out/"});
  save_case({{"in/x", input()}, {"out/z", output()}});
  refuse("--expect case.npz", {"'z'"});
}

TEST_CASE_FIXTURE(Shell, "run: channels of an activation are shown as they fire") {
  const std::string run = "run " EMBER_SOURCE_DIR "/models/digits_cnn.onnx --input " EMBER_SOURCE_DIR
                          "/models/digits_heldout.npz --sample 3 ";
  const Outcome all = ember(run + "--watch /stem/stem.2/Relu --watch /residual/act1/Relu:0,5");
  CHECK_MESSAGE(all.status == 0, all.err);
  CHECK(contains(all.out, "/stem/stem.2/Relu: "));
  CHECK(contains(all.out, " of 16 channels fire: "));
  CHECK(contains(all.out, "/residual/act1/Relu channel 0: "));
  CHECK(contains(all.out, "/residual/act1/Relu channel 5: "));
  CHECK(contains(all.out, "[1, 10]"));
  const auto refuse = [&](const std::string& arguments, const std::string& word) {
    const Outcome outcome = ember(run + arguments + " --output-dir out");
    CHECK_MESSAGE(outcome.status == 2, arguments);
    CHECK_MESSAGE(contains(outcome.err, word), outcome.err);
  };
  refuse("--watch /nowhere", "/stem/stem.2/Relu");
  refuse("--watch /stem/stem.2/Relu:16", "0 to 15");
  const Outcome beyond = ember("run " EMBER_SOURCE_DIR "/models/digits_cnn.onnx --input " EMBER_SOURCE_DIR
                               "/models/digits_heldout.npz --sample 450");
  CHECK(beyond.status == 2);
  CHECK(contains(beyond.err, "--sample 450"));
}

TEST_CASE_FIXTURE(Run, "run: a disk that is full leaves nothing behind") {
  if (::geteuid() != 0 ||
      shell("mkdir tiny && mount -t tmpfs -o size=4k,nr_inodes=8 tmpfs tiny").status != 0) {
    MESSAGE("skipped: cannot mount a small file system");
    return;
  }
  save_npy(folder / "big.npy", Tensor(DataType::Float32, Shape{10000, 3}).view());
  const Outcome outcome = ember("run m.onnx --input big.npy --output-dir tiny/out");
  const bool left = exists("tiny/out");
  REQUIRE(shell("umount tiny").status == 0);
  CHECK(outcome.status == 2);
  CHECK(contains(outcome.err, "space"));
  CHECK(outcome.out.empty());
  CHECK_FALSE(left);
}

TEST_CASE_FIXTURE(Run, "run: what holds the output folder's place is named") {
  write_file(folder / "file", "in the way");
  const Outcome outcome = ember("run m.onnx --input x.npy --output-dir file");
  CHECK(outcome.status == 2);
  CHECK(contains(outcome.err, "'file'"));
}

TEST_CASE_FIXTURE(Run, "info: describes as text and JSON") {
  const Outcome text = ember("info m.onnx --plan");
  CHECK(text.status == 0);
  for (const char* word : {"x  float32 [N, 3]", "y  float32 [N, 3]", "1 Relu", "sum_node", "nothing"}) {
    CAPTURE(word);
    CHECK(contains(text.out, word));
  }
  const auto json = nlohmann::json::parse(ember("info m.onnx --json --plan").out);
  CHECK(json.at("parameters") == 3);
  CHECK(json.at("runs") == true);
  CHECK(json.at("operators").at("Add") == 1);
  CHECK(json.at("plan").size() >= 1);
}

TEST_CASE_FIXTURE(Run, "bench: measures, and says the same as JSON") {
  const Outcome text = ember("bench m.onnx --batch 4 --seconds 0.01 --profile");
  CHECK_MESSAGE(text.status == 0, text.err);
  CHECK(contains(text.out, "batch 4"));
  CHECK(contains(text.out, "throughput"));
  CHECK(contains(text.out, "y_node"));
  const auto json = nlohmann::json::parse(
      ember("bench m.onnx --batch 4 --threads 2 --warmup 1 --seconds 0.01 --profile --json").out);
  CHECK(json.at("batch") == 4);
  CHECK(json.at("threads") == 2);
  CHECK(json.at("runs").get<int>() >= 3);
  const auto& latency = json.at("latency_ms");
  CHECK(latency.at("min").get<double>() > 0);
  CHECK(latency.at("min") <= latency.at("p50"));
  CHECK(latency.at("p50") <= latency.at("p99"));
  CHECK(latency.at("p99") <= latency.at("max"));
  CHECK(json.at("profile").size() >= 1);
  ModelFile().input("x", {2, 3}).output("y", {2, 3}).node("Relu", {"x"}, "y").save(folder / "fixed.onnx");
  CHECK(ember("bench fixed.onnx --batch 4").status == 2);
}

TEST_CASE_FIXTURE(Run, "bench and info: extents that a model leaves open can be given") {
  ModelFile file;
  file.input("x", {-1, -1}).output("y", {-1, -1}).node("Relu", {"x"}, "y");
  file.save(folder / "open.onnx");
  for (const char* shape : {"x=2x300", "2x300"}) {
    const auto bench =
        nlohmann::json::parse(ember(std::string("bench open.onnx --seconds 0 --json --shape ") + shape).out);
    CHECK(bench.at("batch") == 2);
    CHECK(bench.at("arena_bytes").get<std::int64_t>() >= 2 * 300 * 4);
    const auto info = nlohmann::json::parse(ember(std::string("info open.onnx --json --shape ") + shape).out);
    CHECK(info.at("arena_bytes") == bench.at("arena_bytes"));
  }
  ModelFile picky;  // [1, 1] does not multiply with [4, 2]
  picky.input("x", {-1, -1}).output("y", {-1, 2}).node("MatMul", {"x", "w"}, "y");
  onnx::TensorProto& weight = picky.weight("w", {4, 2});
  for (int i = 0; i < 8; ++i) weight.add_float_data(1);
  picky.save(folder / "picky.onnx");
  CHECK(contains(ember("bench picky.onnx --seconds 0").err, "--shape"));
  CHECK(contains(ember("info picky.onnx").out, "--shape"));
  CHECK(ember("bench picky.onnx --seconds 0 --shape 1x4").status == 0);
  for (const char* verb : {"bench", "info"}) {
    for (const char* shape : {"z=2x300", "2x", "2y3", "x=0x1", "x=-1", "x=2x99999999999999999999"}) {
      CAPTURE(shape);
      CHECK(ember(std::string(verb) + " open.onnx --shape " + shape).status == 2);
    }
  }
}
