#include <ember/verification.hpp>

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "support/graph_builder.hpp"
#include "support/memory_samples.hpp"
#include "support/model_of.hpp"
#include "support/tensor_of.hpp"
#include "surgery/random_input.hpp"

using namespace ember;
using test::GraphBuilder;
using test::model_of;
using test::tensor_of;

namespace {

/// y = x + offsets, three elements per sample.
Model shifted(const std::vector<float>& offsets) {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {-1, 3});
  b.output(b.op("Add", "y", {x, b.constant("offsets", tensor_of<float>({3}, offsets))}));
  return model_of(b);
}

class Labelled final : public Samples {
 public:
  Labelled(Tensor values, std::vector<std::int64_t> labels)
      : samples_(std::move(values)), labels_(std::move(labels)) {}
  [[nodiscard]] std::int64_t count() const override { return samples_.count(); }
  [[nodiscard]] std::string description() const override { return "labelled"; }
  [[nodiscard]] std::string content_hash() const override { return ""; }
  [[nodiscard]] std::optional<std::vector<std::int64_t>> labels() const override { return labels_; }
  void read(std::int64_t first, std::int64_t n, const Shape& shape, float* to) override {
    samples_.read(first, n, shape, to);
  }

 private:
  test::MemorySamples samples_;
  std::vector<std::int64_t> labels_;
};

const VerifyOptions kNoTime = {.seconds = 0};

}  // namespace

TEST_CASE("verify: a network agrees with itself to the bit") {
  const std::filesystem::path folder = std::filesystem::path(EMBER_SOURCE_DIR) / "models";
  const Model model = Model::load(folder / "digits_cnn.onnx");
  const auto calibration = open_samples(folder / "digits_calibration.npz");
  const auto held_out = open_samples(folder / "digits_heldout.npz");
  const Verification found = verify(model, model, {calibration.get(), held_out.get()}, {.seconds = 0.02});
  REQUIRE(found.comparisons.size() == 3);
  for (const DataComparison& comparison : found.comparisons) {
    CHECK(comparison.max_absolute() == 0);
    CHECK(comparison.max_relative() == 0);
    CHECK(comparison.argmax_changes() == 0);
    CHECK(comparison.outputs.at(0).output == "scores");
    CHECK(comparison.outputs.at(0).largest > 1);
  }
  const DataComparison& on_data = *found.find(ComparedOn::Calibration);
  CHECK(on_data.samples == 1347);
  CHECK(on_data.accuracy_before == on_data.accuracy_after);
  CHECK(on_data.accuracy_before.value() > 0.97);
  CHECK(found.find(ComparedOn::HeldOut)->samples == 450);
  CHECK(found.find(ComparedOn::HeldOut)->accuracy_before.value() > 0.95);
  CHECK(found.find(ComparedOn::Random)->samples == 256);
  CHECK_FALSE(found.find(ComparedOn::Random)->accuracy_before.has_value());
  CHECK(found.before.parameters == model.info().parameters);
  CHECK(found.before.file_bytes == static_cast<std::int64_t>(model.serialize().size()));
  CHECK(found.before.flops > 0);
  CHECK(found.before.flops == found.after.flops);
  CHECK(found.time_runs >= 5);
  CHECK(found.before.milliseconds > 0);
  CHECK(found.after.milliseconds > 0);
  CHECK(found.notes.empty());
}

TEST_CASE("verify: differences, changed argmaxes and accuracy are what they are") {
  const Model before = shifted({0, 0, 0});
  const Model after = shifted({0, 0.5F, 0});
  // The argmax of the second sample moves from 0 to 1; the third has label 2 and keeps it.
  Labelled samples(tensor_of<float>({3, 3}, {0, 4, 0, 1, 0.75F, 0, -1, -2, 2}), {1, 0, 2});
  const Verification found = verify(before, after, {.calibration = &samples}, kNoTime);
  const DataComparison& on_data = *found.find(ComparedOn::Calibration);
  CHECK(on_data.samples == 3);
  CHECK(on_data.data == "labelled");
  CHECK(on_data.max_absolute() == 0.5);
  CHECK(on_data.outputs.at(0).largest == 4);
  CHECK(on_data.max_relative() == 0.125);
  CHECK(on_data.argmax_changes() == 1);
  CHECK(on_data.accuracy_before.value() == 1);
  CHECK(on_data.accuracy_after.value() == doctest::Approx(2.0 / 3.0));
  CHECK(found.find(ComparedOn::Random)->max_absolute() == doctest::Approx(0.5));
  CHECK(found.time_runs == 0);
  SUBCASE("with labels that count from another number") {
    VerifyOptions options = kNoTime;
    options.label_offset = 1;
    const Verification moved = verify(before, after, {.calibration = &samples}, options);
    CHECK(moved.find(ComparedOn::Calibration)->accuracy_before.value() == 0);
  }
  SUBCASE("whatever the batch") {
    for (const std::int64_t batch : {1, 2, 3}) {
      VerifyOptions options = kNoTime;
      options.batch = batch;
      const Verification same = verify(before, after, {.calibration = &samples}, options);
      CHECK(same.find(ComparedOn::Calibration)->argmax_changes() == 1);
      CHECK(same.find(ComparedOn::Calibration)->samples == 3);
      CHECK(same.find(ComparedOn::Random)->max_absolute() == found.find(ComparedOn::Random)->max_absolute());
    }
  }
  SUBCASE("of the first samples only") {
    VerifyOptions options = kNoTime;
    options.samples = 1;
    const Verification one = verify(before, after, {.calibration = &samples}, options);
    CHECK(one.find(ComparedOn::Calibration)->samples == 1);
    CHECK(one.find(ComparedOn::Calibration)->argmax_changes() == 0);
  }
}

TEST_CASE("verify: an output that is no longer finite is infinitely far") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  test::MemorySamples samples(tensor_of<float>({1, 3}, {1, 2, 3}));
  const Model sound = shifted({0, 0, 0});
  const Model broken = shifted({0, nan, 0});
  CHECK(std::isinf(verify(sound, broken, {.calibration = &samples}, kNoTime)
                       .find(ComparedOn::Calibration)
                       ->max_absolute()));
  CHECK(verify(broken, broken, {.calibration = &samples}, kNoTime)
            .find(ComparedOn::Calibration)
            ->max_absolute() == 0);
}

TEST_CASE("verify: random input stays within the data or the domain") {
  test::MemorySamples data(tensor_of<float>({2, 3}, {1, 10, 100, 2, 10, 300}));
  surgery::RangeOf ranged(data);
  std::vector<float> values(6);
  ranged.read(0, 2, {2, 3}, values.data());
  CHECK(ranged.lower() == std::vector<float>{1, 10, 100});
  CHECK(ranged.upper() == std::vector<float>{2, 10, 300});
  surgery::RandomSamples random(100, 5, ranged.lower(), ranged.upper(), "noise");
  std::vector<float> drawn(300);
  random.read(0, 100, {100, 3}, drawn.data());
  std::vector<float> again(3);
  random.read(41, 1, {1, 3}, again.data());
  float least = 300, most = 100;
  for (std::size_t i = 0; i < 100; ++i) {
    CHECK(drawn[i * 3 + 1] == 10);
    CHECK(drawn[i * 3] >= 1);
    CHECK(drawn[i * 3] <= 2);
    least = std::min(least, drawn[i * 3 + 2]);
    most = std::max(most, drawn[i * 3 + 2]);
  }
  CHECK(least >= 100);
  CHECK(least < 120);
  CHECK(most > 280);
  CHECK(most <= 300);
  CHECK(again == std::vector<float>(drawn.begin() + 123, drawn.begin() + 126));

  VerifyOptions options = kNoTime;
  options.lower = {7};
  options.upper = {8};
  const Verification found = verify(shifted({0, 0, 0}), shifted({0, 0, 0}), {}, options);
  CHECK(found.find(ComparedOn::Random)->outputs.at(0).largest > 7);
  CHECK(found.find(ComparedOn::Random)->outputs.at(0).largest <= 8);
  options.upper = {6};
  CHECK_THROWS_AS((void)verify(shifted({0, 0, 0}), shifted({0, 0, 0}), {}, options), Error);
}

TEST_CASE("verify: several inputs are compared on random input") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {2, 3});
  const auto at = b.input("at", DataType::Int64, {2});
  b.output(b.op("Gather", "y", {x, at}, {{"axis", std::int64_t{1}}}));
  const Verification found = verify(model_of(b), model_of(b), {}, kNoTime);
  CHECK(found.find(ComparedOn::Random)->samples == 256);
  CHECK(found.find(ComparedOn::Random)->max_absolute() == 0);
  CHECK(found.find(ComparedOn::Random)->outputs.at(0).largest > 0.9);
}

TEST_CASE("verify: samples stay apart where a batch is folded into another axis") {
  GraphBuilder b;
  const auto x = b.input("x", DataType::Float32, {-1, 3});
  const auto flat =
      b.op("Reshape", "y", {x, b.constant("shape", Tensor(Shape{1}, std::vector<std::int64_t>{-1}))});
  b.output(flat);
  test::MemorySamples samples(tensor_of<float>({2, 3}, {1, 2, 3, 6, 5, 4}));
  const Verification found = verify(model_of(b), model_of(b), {.calibration = &samples}, kNoTime);
  CHECK(found.find(ComparedOn::Calibration)->samples == 2);
  CHECK(found.find(ComparedOn::Calibration)->outputs.at(0).largest == 6);
}

TEST_CASE("verify: networks with another face are refused") {
  GraphBuilder b;
  const auto x = b.input("other", DataType::Float32, {-1, 3});
  b.output(b.op("Relu", "y", {x}));
  CHECK_THROWS_WITH_AS((void)verify(shifted({0, 0, 0}), model_of(b)), doctest::Contains("inputs differ"),
                       Error);
}

TEST_CASE("verify: the report as JSON and as text") {
  Labelled samples(tensor_of<float>({3, 3}, {0, 4, 0, 1, 0.75F, 0, -1, -2, 2}), {1, 0, 2});
  const Verification found =
      verify(shifted({0, 0, 0}), shifted({0, 0.5F, 0}), {.calibration = &samples}, {.seconds = 0.01});
  const auto json = nlohmann::json::parse(to_json(found));
  CHECK(json["schema"] == "ember-verification-1");
  CHECK(json["comparisons"][0]["on"] == "calibration");
  CHECK(json["comparisons"][0]["outputs"][0]["max_absolute"] == 0.5);
  CHECK(json["comparisons"][0]["outputs"][0]["argmax_changes"] == 1);
  CHECK(json["comparisons"][0]["accuracy_before"] == 1.0);
  CHECK(json["comparisons"][1]["on"] == "random");
  CHECK_FALSE(json["comparisons"][1].contains("accuracy_before"));
  CHECK(json["before"]["milliseconds"].get<double>() > 0);
  const std::string text = to_text(found);
  for (const char* part :
       {"calibration data", "random input", "1.0000 -> 0.6667", "parameters", "ms per sample"}) {
    CHECK_MESSAGE(text.find(part) != std::string::npos, part << " in\n" << text);
  }
}
