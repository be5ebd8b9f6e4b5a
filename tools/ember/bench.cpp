#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <utility>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <ember/error.hpp>
#include <ember/session.hpp>

#include "options.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

struct Options {
  std::string model;
  std::int64_t batch = 0;
  int threads = 1;
  double seconds = 2;
  std::optional<int> warmup;
  std::int64_t micro_batch = 0;
  bool profile = false;
  ShapeOption shape;
  JsonOption json;
};

/// The batch is axis 0 where the model leaves it open or says 1.
std::map<std::string, Shape> input_shapes(const Model& model, const Options& options) {
  std::map<std::string, Shape> shapes = options.shape.of(model);
  if (options.batch == 0) return shapes;
  bool batched = false;
  for (const ValueInfo& input : model.inputs()) {
    if (input.dims.empty() || (input.dims[0].size != -1 && input.dims[0].size != 1)) continue;
    std::vector<std::int64_t> dims;
    for (const Dimension& dim : input.dims) dims.push_back(dim.size < 0 ? 1 : dim.size);
    if (const auto given = shapes.find(input.name); given != shapes.end())
      dims.assign(given->second.dims().begin(), given->second.dims().end());
    if (dims.empty()) continue;
    dims[0] = options.batch;
    shapes.insert_or_assign(input.name, Shape(dims));
    batched = true;
  }
  if (!batched) {
    throw Error(ErrorCode::InvalidArgument, "--batch cannot be set: no input has an open first axis",
                {.model = model.name(), .cure = "leave --batch out"});
  }
  return shapes;
}

template <class T>
void fill_random(std::span<T> values, std::mt19937& generator) {
  std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
  for (T& value : values) value = static_cast<T>(uniform(generator));
}

/// Floats in [0, 1). Whole numbers stay 0, which is a valid index, length and flag.
void fill_inputs(Session& session) {
  std::mt19937 generator(1);
  for (const std::string& name : session.input_names()) {
    const TensorView view = session.input(name);
    switch (view.type()) {
      case DataType::Float32: fill_random(view.data<float>(), generator); break;
      case DataType::Float64: fill_random(view.data<double>(), generator); break;
      case DataType::Float16: fill_random(view.data<Half>(), generator); break;
      case DataType::BFloat16: fill_random(view.data<BFloat>(), generator); break;
      default: std::fill_n(static_cast<std::byte*>(view.raw()), view.bytes(), std::byte{0}); break;
    }
  }
}

double milliseconds_of_run(Session& session) {
  const Clock::time_point start = Clock::now();
  session.run();
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// At least three runs, then until the time is up.
std::vector<double> measure(Session& session, double seconds) {
  constexpr std::size_t kFewest = 3;
  std::vector<double> latencies;
  const Clock::time_point end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (latencies.size() < kFewest || Clock::now() < end) latencies.push_back(milliseconds_of_run(session));
  return latencies;
}

/// `runs` runs; without a number until a tenth of the measured time has passed, and one at least.
void warm_up(Session& session, const Options& options) {
  if (options.warmup) {
    for (int i = 0; i < *options.warmup; ++i) session.run();
    return;
  }
  double spent = 0;
  do {
    spent += milliseconds_of_run(session);
  } while (spent < options.seconds * 100);
}

struct Latency {
  double least = 0, median = 0, p90 = 0, p99 = 0, most = 0, mean = 0;
};

Latency summarize(std::vector<double> sorted) {
  std::sort(sorted.begin(), sorted.end());
  const auto percentile = [&](double share) {  // nearest rank
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
    return sorted[std::max<std::size_t>(rank, 1) - 1];
  };
  const double sum = std::accumulate(sorted.begin(), sorted.end(), 0.0);
  return {.least = sorted.front(),
          .median = percentile(0.5),
          .p90 = percentile(0.9),
          .p99 = percentile(0.99),
          .most = sorted.back(),
          .mean = sum / static_cast<double>(sorted.size())};
}

struct Result {
  std::size_t runs = 0;
  std::int64_t batch = 1;
  Latency latency;
  double flops = 0;
  std::size_t arena_bytes = 0;
  std::string isa;
  std::string batching;
  int threads = 1;
  std::vector<ProfileEntry> profile;  ///< slowest first

  [[nodiscard]] double samples_per_second() const { return static_cast<double>(batch) * 1000 / latency.mean; }
  [[nodiscard]] double gflops() const { return flops / latency.mean / 1e6; }
};

std::int64_t samples_per_run(Session& session) {
  const Shape shape = session.input(session.input_names().front()).shape();
  return shape.rank() == 0 ? 1 : shape[0];
}

Session ready_session(const Options& options, bool profile) {
  Model model = Model::load(options.model);
  std::map<std::string, Shape> shapes = input_shapes(model, options);
  Session session(std::move(model), {.threads = options.threads,
                                     .input_shapes = std::move(shapes),
                                     .micro_batch = options.micro_batch,
                                     .release_weights = true,
                                     .profile = profile});
  fill_inputs(session);
  return session;
}

Result measure_latency(const Options& options) {
  Session session = ready_session(options, false);
  warm_up(session, options);
  const std::vector<double> latencies = measure(session, options.seconds);
  return {.runs = latencies.size(),
          .batch = options.batch != 0              ? options.batch
                   : session.input_names().empty() ? 1
                                                   : samples_per_run(session),
          .latency = summarize(latencies),
          .flops = session.flops(),
          .arena_bytes = session.arena_bytes(),
          .isa = session.isa(),
          .batching = session.batching(),
          .threads = session.threads(),
          .profile = {}};
}

/// Apart from the latencies, which the clock's own cost would distort in small networks. Slowest first.
std::vector<ProfileEntry> measure_steps(const Options& options) {
  Session session = ready_session(options, true);
  session.run();
  session.reset_profile();
  measure(session, options.seconds / 2);
  std::vector<ProfileEntry> profile = session.profile();
  std::stable_sort(profile.begin(), profile.end(), [](const ProfileEntry& a, const ProfileEntry& b) {
    return a.milliseconds > b.milliseconds;
  });
  return profile;
}

Result bench(const Options& options) {
  Result result = measure_latency(options);
  if (options.profile) result.profile = measure_steps(options);
  return result;
}

double per_run(const ProfileEntry& step) {
  return step.milliseconds / static_cast<double>(std::max<std::int64_t>(step.runs, 1));
}

double total_of(const std::vector<ProfileEntry>& profile) {
  double total = 0;
  for (const ProfileEntry& step : profile) total += per_run(step);
  return total;
}

Json to_json(const Options& options, const Result& result) {
  const Latency& latency = result.latency;
  Json json{{"schema", "ember-bench-1"},
            {"model", options.model},
            {"isa", result.isa},
            {"threads", result.threads},
            {"batch", result.batch},
            {"batching", result.batching},
            {"runs", result.runs},
            {"latency_ms",
             {{"min", latency.least},
              {"p50", latency.median},
              {"p90", latency.p90},
              {"p99", latency.p99},
              {"max", latency.most},
              {"mean", latency.mean}}},
            {"samples_per_second", result.samples_per_second()},
            {"flops_per_run", result.flops},
            {"gflops", result.gflops()},
            {"arena_bytes", result.arena_bytes}};
  if (!options.profile) return json;
  json["profile"] = Json::array();
  for (const ProfileEntry& step : result.profile) {
    json["profile"].push_back({{"node", step.node},
                               {"op", step.op},
                               {"fused", step.fused},
                               {"implementation", step.implementation},
                               {"milliseconds", per_run(step)},
                               {"flops", step.flops},
                               {"refusals", step.refusals}});
  }
  return json;
}

void print_profile(const std::vector<ProfileEntry>& profile) {
  const double total = total_of(profile);
  put("\n{:>10}  {:>6}  {:>8}  {:<22} {:<18} {}\n", "ms", "share", "GFLOP/s", "implementation", "operator",
      "node");
  for (const ProfileEntry& step : profile) {
    const double time = per_run(step);
    const std::string speed =
        step.flops > 0 && time > 0 ? fmt::format("{:.2f}", step.flops / time / 1e6) : "";
    const std::string implementation =
        step.implementation == "reference" ? "reference (slow)" : step.implementation;
    put("{:>10.4f}  {:>5.1f}%  {:>8}  {:<22} {:<18} {}\n", time, total > 0 ? 100 * time / total : 0, speed,
        implementation, step.op, step.node);
    if (!step.fused.empty()) put("{:>30}with {}\n", "", fmt::join(step.fused, ", "));
  }
}

void print_text(const Options& options, const Result& result) {
  const Latency& latency = result.latency;
  put("{}: batch {}, {} thread{}, {}, {} runs\n", options.model, result.batch, result.threads,
      result.threads == 1 ? "" : "s", result.isa, with_separators(static_cast<long long>(result.runs)));
  put("latency     min {:.4g}  p50 {:.4g}  p90 {:.4g}  p99 {:.4g}  max {:.4g}  mean {:.4g} ms\n",
      latency.least, latency.median, latency.p90, latency.p99, latency.most, latency.mean);
  put("throughput  {:.5g} samples/s, {:.4g} GFLOP/s ({} per run)\n", result.samples_per_second(),
      result.gflops(), with_prefix(result.flops));
  put("memory      {}B for activations\n", with_prefix(static_cast<double>(result.arena_bytes)));
  if (!result.batching.empty()) put("batch       {}\n", result.batching);
  if (options.profile) print_profile(result.profile);
}

}  // namespace

void add_bench(CLI::App& app, Context& /*context*/) {
  CLI::App* verb = app.add_subcommand("bench", "measure a network: latency, throughput, time per node");
  auto options = std::make_shared<Options>();
  add_model(*verb, options->model);
  add_batch(*verb, options->batch);
  add_threads(*verb, options->threads);
  verb->add_option("--seconds", options->seconds, "how long to measure (default 2)")
      ->check(CLI::Range(0.0, 86400.0))
      ->option_text("S");
  verb->add_option("--warmup", options->warmup, "runs before measuring (default: a tenth of the time)")
      ->check(CLI::Range(0, 1'000'000))
      ->option_text("N");
  verb->add_option(
          "--micro-batch", options->micro_batch,
          "samples of the batch that go through the network at a time (default: as a cost model says)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40))
      ->option_text("N");
  verb->add_flag("--profile", options->profile, "time every step; a fused node is named under its step");
  options->shape.add_to(*verb);
  options->json.add_to(*verb);
  add_example(*verb, "ember bench models/digits_cnn.onnx --batch 32 --threads 2 --profile --seconds 1");
  verb->callback([options] {
    const Result result = bench(*options);
    options->json.emit(to_json(*options, result));
    if (!options->json.on_output()) print_text(*options, result);
  });
}

}  // namespace ember::cli
