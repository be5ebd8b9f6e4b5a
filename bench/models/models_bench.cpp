#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <ember/ember.hpp>

#include "support/peak.hpp"

// Whole networks: time per run, and what share of the machine it uses.
//   bench_models [Google Benchmark's options] [MODEL.onnx …]
// Without a model: the bundled ones, and those of the folder EMBER_ZOO where it is set.

using namespace ember;
namespace fs = std::filesystem;

namespace {

void fill(Session& session) {
  std::mt19937 generator(1);
  std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
  for (const std::string& name : session.input_names()) {
    const TensorView view = session.input(name);
    if (view.type() == DataType::Float32) {
      for (float& value : view.data<float>()) value = uniform(generator);
    } else {
      std::fill_n(static_cast<std::byte*>(view.raw()), view.bytes(), std::byte{0});
    }
  }
}

/// Counters: FLOP/s; %peak, of the multiply-add peak of so many cores; and %stream, the share of the memory
/// bandwidth of one core that reading every weight once per run takes.
void run_model(benchmark::State& state, const fs::path& file, int threads) {
  try {
    const Model model = Model::load(file);
    Session session(model, {.threads = threads});
    fill(session);
    session.run();
    for (auto _ : state) session.run();
    using benchmark::Counter;
    const double peak = bench::fma_peak(session.isa()) * threads;
    const auto bytes = static_cast<double>(model.info().parameter_bytes);
    state.counters["FLOP/s"] = Counter(session.flops(), Counter::kIsIterationInvariantRate);
    state.counters["%peak"] = Counter(100 * session.flops() / peak, Counter::kIsIterationInvariantRate);
    state.counters["%stream"] =
        Counter(100 * bytes / bench::read_bandwidth(), Counter::kIsIterationInvariantRate);
  } catch (const Error& error) {
    state.SkipWithError(error.what());
  }
}

std::vector<fs::path> networks_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string stem = entry.path().stem().string();
    const bool checkpoint = stem.find("_step") != std::string::npos;
    if (entry.path().extension() == ".onnx" && !checkpoint) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  std::vector<fs::path> files(argv + 1, argv + argc);
  if (files.empty()) {
    files = networks_in(EMBER_MODELS_DIR);
    if (const char* zoo = std::getenv("EMBER_ZOO")) {
      for (const fs::path& file : networks_in(fs::path(zoo) / "models")) files.push_back(file);
    }
  }
  for (const fs::path& file : files) {
    for (const int threads : {1, 2}) {
      const std::string name = fmt::format("{}/threads:{}", file.stem().string(), threads);
      benchmark::RegisterBenchmark(name.c_str(), run_model, file, threads)
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
