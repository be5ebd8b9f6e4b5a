#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include <nlohmann/json.hpp>

#include <ember/file.hpp>
#include <ember/samples.hpp>
#include <ember/session.hpp>

#include "support/scratch_folder.hpp"
#include "support/zoo.hpp"

using namespace ember;

namespace {

/// The share of samples whose label is the argmax of the first output.
double top1(const std::filesystem::path& file, Samples& samples, int label_offset, std::int64_t most) {
  Session session(Model::load(file));
  const TensorView input = session.input(session.input_names().front());
  const std::vector<std::int64_t> labels = samples.labels().value();
  const std::int64_t count = std::min(most, samples.count());
  const std::int64_t batch = input.shape()[0];
  std::int64_t right = 0;
  for (std::int64_t first = 0; first + batch <= count; first += batch) {
    samples.read(first, batch, input.shape(), input.data<float>().data());
    session.run();
    const auto scores = session.output(session.output_names().front()).data<float>();
    const std::size_t classes = scores.size() / static_cast<std::size_t>(batch);
    for (std::int64_t i = 0; i < batch; ++i) {
      const auto row = scores.subspan(static_cast<std::size_t>(i) * classes, classes);
      const auto best = std::ranges::max_element(row) - row.begin();
      right += best == labels[static_cast<std::size_t>(first + i)] + label_offset ? 1 : 0;
    }
  }
  return static_cast<double>(right) / static_cast<double>(count / batch * batch);
}

}  // namespace

// Sees through the whole way of the data: decoding, resizing, channel order, scaling, labels. The figures
// for MNIST are of the same first 1,000 digits; the others are of other samples of a few hundred.
TEST_CASE("zoo: networks are as accurate on their data as measured elsewhere") {
  const std::filesystem::path zoo = test::zoo_folder();
  if (zoo.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return;
  }
  const test::ScratchFolder scratch;
  const auto index = nlohmann::json::parse(std::ifstream(zoo / "index.json"));
  int checked = 0;
  for (const auto& network : index) {
    if (!network.at("top1_measured_elsewhere").is_number()) continue;
    const auto& calibration = network.at("calibration");
    write_file(scratch / "preprocess.json", calibration.dump());
    const auto preprocessing = Preprocessing::from_json_file(scratch / "preprocess.json");
    const auto samples =
        open_samples(zoo / "data" / calibration.at("data").get<std::string>(), preprocessing);
    const double expected = network.at("top1_measured_elsewhere");
    const bool same_sample = calibration.at("data") == "mnist5000.npz";
    const double measured = top1(zoo / network.at("model").get<std::string>(), *samples,
                                 preprocessing.label_offset, same_sample ? 1000 : 250);
    CAPTURE(network.at("name").get<std::string>());
    CAPTURE(measured);
    CAPTURE(expected);
    CHECK(std::abs(measured - expected) < (same_sample ? 0.0015 : 0.08));
    ++checked;
  }
  CHECK(checked > 10);
}
