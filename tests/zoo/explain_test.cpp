#include <chrono>
#include <filesystem>

#include <doctest/doctest.h>

#include <ember/audit.hpp>
#include <ember/explain.hpp>

#include "support/memory_samples.hpp"
#include "support/random_tensor.hpp"
#include "support/zoo.hpp"

using namespace ember;

TEST_CASE("every real network's unhealthy channels are explained or said not to be, in bounded time") {
  const std::filesystem::path zoo = test::zoo_folder();
  if (zoo.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return;
  }
  for (const auto& entry : std::filesystem::directory_iterator(zoo / "models")) {
    if (entry.path().extension() != ".onnx") continue;
    CAPTURE(entry.path().string());
    const Model model = Model::load(entry.path());
    const std::vector<ValueInfo> inputs = model.inputs();
    bool fixed = inputs.size() == 1;
    std::vector<std::int64_t> dims;
    for (std::size_t i = 0; fixed && i < inputs[0].dims.size(); ++i) {
      dims.push_back(i == 0 ? 8 : inputs[0].dims[i].size);
      fixed = dims.back() > 0;
    }
    if (!fixed) continue;
    test::MemorySamples samples(test::random_tensor(Shape(dims), 1));
    AuditOptions options;
    options.explain = false;
    AuditReport report = audit(model, samples, options);
    const auto start = std::chrono::steady_clock::now();
    explain(model, samples, report);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::minutes(1));
    std::int64_t silent = 0;
    std::int64_t unexplained = 0;
    for (const LayerReport& layer : report.layers()) {
      for (const ChannelReport& channel : layer.channels) {
        if (channel.verdict != Verdict::Silent) continue;
        ++silent;
        if (channel.explanation.cause == Cause::None) ++unexplained;
      }
    }
    if (unexplained > 0) CHECK_FALSE(report.notes.empty());
    MESSAGE(entry.path().filename().string(), ": ", silent, " silent, ", unexplained, " without a cause");
  }
}
