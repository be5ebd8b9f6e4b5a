// What watching every channel costs beside plain inference of the same samples.
//   bench_watch [--batch N] [--threads N] [--seconds S] [--rounds N] [--only KIND] MODEL.onnx …
// Sessions run in alternation on the same random input, which is in place before any starts: none pays for
// reading data. The median over the rounds of the time per sample, and of its ratio to the plain run of the
// same round, which a slow phase of the machine reaches too; the batch is the audit's own unless given. The
// last figures are how many convolutions go by Winograd when watched, and when not.
//   plain      runs as in `ember run`
//   counts     firing counts only
//   all        all statistics
//   apart      all statistics, by a pass of its own over each value

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <ember/ember.hpp>

#include "audit/channel_axis.hpp"
#include "audit/channel_watch.hpp"
#include "audit/feed.hpp"
#include "ops/activation_pattern.hpp"
#include "runtime/session_impl.hpp"

using namespace ember;

namespace {

struct Options {
  std::int64_t batch = 0;
  int threads = 1;
  double seconds = 0.03;
  int rounds = 31;
  std::string only;  ///< one kind of run, for a profiler to look at
  std::vector<std::string> models;
};

void fill(Session& session) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  const TensorView view = session.input(session.input_names().front());
  for (float& value : view.data<float>()) value = normal(generator);
}

enum class Mode : std::uint8_t { Plain, Counts, All, Apart };

/// A session and, where it is watched, what watches it.
class Runner {
 public:
  Runner(const Model& model, const Options& options, Mode mode) : feed_(model, options.batch, 1 << 20) {
    SessionOptions session_options;
    session_options.threads = options.threads;
    session_options.input_shapes = {{feed_.input(), feed_.shape()}};
    const auto graph = runtime::optimized_graph(model);
    std::vector<runtime::ProbePoint> probes;
    patterns_ = ops::find_activations(*graph);
    for (const ops::ActivationPattern& pattern : patterns_) {
      if (mode == Mode::Plain) break;
      watches_.push_back(std::make_unique<auditing::ChannelWatch>(
          pattern.function, auditing::channels_last(*graph, pattern.input), kSegment, kSegment * kSegment));
      if (mode == Mode::Counts) watches_.back()->count_only();
      auto rule = watches_.back()->rule();
      if (mode == Mode::Apart) rule.reset();
      probes.push_back({graph->value(pattern.input).name, watches_.back().get(), rule});
    }
    session_ = std::make_unique<Session>(
        runtime::make_session(model, std::move(session_options), std::move(probes)));
    fill(*session_);
    run();
  }

  void run() {
    for (const auto& watch : watches_) watch->expect(feed_.batch(), feed_.batch(), done_);
    session_->run();
    done_ += feed_.batch();
  }

  /// Milliseconds per sample of runs that take about so many seconds.
  double measure(double seconds) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    std::int64_t runs = 0;
    std::chrono::duration<double, std::milli> elapsed{};
    while (elapsed.count() < seconds * 1e3) {
      run();
      ++runs;
      elapsed = Clock::now() - start;
    }
    return elapsed.count() / static_cast<double>(runs * feed_.batch());
  }

  /// How many convolutions go by Winograd: fewer where signs have to be right.
  [[nodiscard]] std::int64_t winograds() const {
    return std::ranges::count_if(session_->profile(), [](const ProfileEntry& entry) {
      return entry.implementation.starts_with("conv_winograd");
    });
  }
  [[nodiscard]] std::int64_t batch() const { return feed_.batch(); }
  [[nodiscard]] std::int64_t layers() const { return static_cast<std::int64_t>(watches_.size()); }
  [[nodiscard]] std::int64_t channels() const {
    std::int64_t sum = 0;
    for (const auto& watch : watches_) sum += watch->channels();
    return sum;
  }

 private:
  static constexpr std::int64_t kSegment = 100'000;

  auditing::Feed feed_;
  std::vector<ops::ActivationPattern> patterns_;
  std::vector<std::unique_ptr<auditing::ChannelWatch>> watches_;
  std::unique_ptr<Session> session_;
  std::int64_t done_ = 0;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void compare(const std::string& file, const Options& options) {
  const Model model = Model::load(file);
  constexpr std::array kModes = {Mode::Plain, Mode::Counts, Mode::All, Mode::Apart};
  constexpr std::array kNames = {"plain", "counts", "all", "apart"};
  std::vector<Runner> runners;
  for (std::size_t i = 0; i < kModes.size(); ++i) {
    runners.emplace_back(model, options, kModes[i]);
    if (options.only != kNames[i]) continue;
    const double time = runners.back().measure(options.seconds * options.rounds);
    fmt::print("{} {}: {:.4f} ms\n", file, options.only, time);
    return;
  }
  std::vector<std::vector<double>> times(kModes.size());
  for (int round = 0; round < options.rounds; ++round) {
    for (std::size_t i = 0; i < kModes.size(); ++i) times[i].push_back(runners[i].measure(options.seconds));
  }
  const double plain = median(times[0]);
  fmt::print("{:<28} batch {:>2} {:>3} layers {:>6} channels  plain {:>8.4f} ms",
             file.substr(file.find_last_of('/') + 1), runners[0].batch(), runners[1].layers(),
             runners[1].channels(), plain);
  for (std::size_t i = 1; i < kModes.size(); ++i) {
    std::vector<double> ratios;
    for (std::size_t round = 0; round < times[i].size(); ++round)
      ratios.push_back(times[i][round] / times[0][round]);
    fmt::print("  {} {:>+6.1f}%", kNames[i], 100.0 * (median(std::move(ratios)) - 1.0));
  }
  fmt::print("  Winograd {} of {}\n", runners[1].winograds(), runners[0].winograds());
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto value = [&] { return i + 1 < argc ? argv[++i] : ""; };
    if (argument == "--batch") options.batch = std::atoll(value());
    else if (argument == "--threads") options.threads = std::atoi(value());
    else if (argument == "--seconds") options.seconds = std::atof(value());
    else if (argument == "--rounds") options.rounds = std::max(1, std::atoi(value()));
    else if (argument == "--only") options.only = value();
    else options.models.emplace_back(argument);
  }
  try {
    for (const std::string& file : options.models) compare(file, options);
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
  return 0;
}
