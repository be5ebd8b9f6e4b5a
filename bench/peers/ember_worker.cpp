// Times ember on one network in a process of its own, by the protocol of harness/worker.py:
//   bench_peers MODEL INPUTS.npz OUTPUTS.npz THREADS WARMUP

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <ember/ember.hpp>
#include <ember/npy.hpp>

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// A field of /proc/self/status, in bytes; 0 where there is none.
std::int64_t memory(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return 1024 * std::stoll(line.substr(field.size() + 1));
  }
  return 0;
}

double timed_run(ember::Session& session) {
  const Clock::time_point start = Clock::now();
  session.run();
  return milliseconds_since(start);
}

/// The time of each run, in milliseconds; at least one.
std::vector<double> runs_within(ember::Session& session, double milliseconds) {
  std::vector<double> times;
  const Clock::time_point start = Clock::now();
  do {
    times.push_back(timed_run(session));
  } while (milliseconds_since(start) < milliseconds);
  return times;
}

/// Measures one turn and says what came of it.
void take_turn(ember::Session& session, double milliseconds) {
  constexpr double kWarmUpShare = 0.2;  // the others have had the caches
  runs_within(session, kWarmUpShare * milliseconds);
  std::vector<double> times = runs_within(session, milliseconds);
  std::sort(times.begin(), times.end());
  const std::size_t half = times.size() / 2;
  const double median = times.size() % 2 == 1 ? times[half] : (times[half - 1] + times[half]) / 2;
  std::cout << fmt::format(R"({{"median_ms":{},"min_ms":{},"runs":{}}})", median, times.front(), times.size())
            << std::endl;
}

void save_outputs(const ember::Session& session, const std::string& file) {
  ember::TensorMap outputs;
  int position = 0;
  for (const std::string& name : session.output_names()) {
    outputs.emplace(fmt::format("out{}", position++), ember::Tensor(session.output(name)));
  }
  ember::save_npz(file, outputs);
}

void work(char** arguments) {
  const ember::TensorMap inputs = ember::load_npz(arguments[1]);
  const int threads = std::stoi(arguments[3]);
  const double warm_up = 1000 * std::stod(arguments[4]);
  std::ofstream("/proc/self/clear_refs") << 5;  // peak memory starts anew
  const std::int64_t before = memory("VmRSS");

  const Clock::time_point start = Clock::now();
  std::map<std::string, ember::Shape> shapes;
  for (const auto& [name, tensor] : inputs) shapes.emplace(name, tensor.shape());
  ember::Session session(ember::Model::load(arguments[0]),
                         {.threads = threads, .input_shapes = shapes, .release_weights = true});
  const double create = milliseconds_since(start);
  for (const auto& [name, tensor] : inputs) {
    const ember::TensorView input = session.input(name);
    std::memcpy(input.raw(), tensor.view().raw(), input.bytes());
  }
  const double first = timed_run(session);

  runs_within(session, warm_up);
  const std::int64_t peak = memory("VmHWM") - before;
  save_outputs(session, arguments[2]);
  std::cout << fmt::format(R"({{"create_ms":{},"first_ms":{},"peak_bytes":{}}})", create, first, peak)
            << std::endl;
  for (std::string line; std::getline(std::cin, line);) take_turn(session, 1000 * std::stod(line));
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 6) {
    fmt::print(stderr, "usage: bench_peers MODEL INPUTS.npz OUTPUTS.npz THREADS WARMUP\n");
    return 2;
  }
  try {
    work(arguments + 1);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
