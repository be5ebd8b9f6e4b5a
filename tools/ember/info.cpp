#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <ember/error.hpp>
#include <ember/model.hpp>
#include <ember/session.hpp>

#include "options.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string model;
  bool plan = false;
  ShapeOption shape;
  JsonOption json;
};

/// What compiling tells. A model that does not compile has a reason instead.
struct Compiled {
  double flops = 0;
  std::size_t arena_bytes = 0;
  std::string batching;
  std::string isa;
  std::vector<ProfileEntry> steps;
  std::string failure;
};

Compiled compile(const Options& options) {
  Compiled compiled;
  const auto attempt = [&](const auto& action) {
    try {
      action();
    } catch (const Error& error) {
      compiled.failure = error.what();
    }
  };
  std::optional<Model> model;
  attempt([&] { model = Model::load(options.model); });
  if (!model) return compiled;
  const std::map<std::string, Shape> shapes = options.shape.of(*model);  // what is wrong here is the user's
  attempt([&] {
    const Session session(*model, {.input_shapes = shapes});
    compiled.flops = session.flops();
    compiled.arena_bytes = session.arena_bytes();
    compiled.isa = session.isa();
    compiled.batching = session.batching();
    compiled.steps = session.profile();
  });
  return compiled;
}

std::string dims_text(const ValueInfo& value) {
  std::vector<std::string> dims;
  for (const Dimension& dim : value.dims) {
    dims.push_back(dim.size >= 0 ? std::to_string(dim.size) : dim.symbol.empty() ? "?" : dim.symbol);
  }
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

Json values_json(const std::vector<ValueInfo>& values) {
  Json list = Json::array();
  for (const ValueInfo& value : values) {
    Json dims = Json::array();
    for (const Dimension& dim : value.dims) dims.push_back(dim.size >= 0 ? Json(dim.size) : Json(dim.symbol));
    list.push_back({{"name", value.name}, {"dtype", to_string(value.type)}, {"shape", std::move(dims)}});
  }
  return list;
}

Json to_json(const ModelInfo& info, const std::vector<std::string>& unsupported, const Compiled& compiled,
             bool with_plan) {
  Json json{{"schema", "ember-info-1"},
            {"model", info.name},
            {"producer", info.producer},
            {"ir_version", info.ir_version},
            {"opsets", info.opsets},
            {"inputs", values_json(info.inputs)},
            {"outputs", values_json(info.outputs)},
            {"parameters", info.parameters},
            {"parameter_bytes", info.parameter_bytes},
            {"nodes", info.nodes},
            {"operators", info.operators},
            {"runs", compiled.failure.empty()},
            {"unsupported", unsupported}};
  if (!compiled.failure.empty()) {
    if (unsupported.empty()) json["failure"] = compiled.failure;
    return json;
  }
  json["flops"] = compiled.flops;
  json["arena_bytes"] = compiled.arena_bytes;
  json["isa"] = compiled.isa;
  if (!compiled.batching.empty()) json["batching"] = compiled.batching;
  if (!with_plan) return json;
  for (const ProfileEntry& step : compiled.steps) {
    json["plan"].push_back({{"node", step.node},
                            {"op", step.op},
                            {"fused", step.fused},
                            {"implementation", step.implementation},
                            {"flops", step.flops},
                            {"refusals", step.refusals}});
  }
  return json;
}

void print_values(const char* title, const std::vector<ValueInfo>& values) {
  for (const ValueInfo& value : values) {
    put("{:<11} {}  {} {}\n", title, value.name, to_string(value.type), dims_text(value));
    title = "";
  }
}

void print_operators(const std::map<std::string, std::int64_t>& operators) {
  std::vector<std::pair<std::string, std::int64_t>> sorted(operators.begin(), operators.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string> counts;
  for (const auto& [op, count] : sorted) counts.push_back(fmt::format("{} {}", count, op));
  put("{:<11} {}\n", "operators", fmt::join(counts, ", "));
}

void print_plan(const Compiled& compiled) {
  if (!compiled.batching.empty()) put("\n{:<11} {}\n", "batch", compiled.batching);
  put("\n{:>4}  {:>6}  {:<22} {:<18} {}\n", "step", "FLOPs", "implementation", "operator", "node");
  int number = 0;
  for (const ProfileEntry& step : compiled.steps) {
    const double share = compiled.flops > 0 ? 100 * step.flops / compiled.flops : 0;
    put("{:>4}  {:>5.1f}%  {:<22} {:<18} {}\n", ++number, share, step.implementation, step.op, step.node);
    if (!step.fused.empty()) put("{:>14}with {}\n", "", fmt::join(step.fused, ", "));
    if (!step.refusals.empty()) put("{:>14}refused: {}\n", "", step.refusals);
  }
}

void print_text(const ModelInfo& info, const std::vector<std::string>& unsupported, const Compiled& compiled,
                bool with_plan) {
  put("{:<11} {}\n", "model", info.name);
  if (!info.producer.empty()) put("{:<11} {}\n", "producer", info.producer);
  std::vector<std::string> opsets;
  for (const auto& [domain, version] : info.opsets) opsets.push_back(fmt::format("{} {}", domain, version));
  put("{:<11} {} (IR version {})\n", "opset", fmt::join(opsets, ", "), info.ir_version);
  print_values("inputs", info.inputs);
  print_values("outputs", info.outputs);
  put("{:<11} {} ({}B)\n", "parameters", with_separators(info.parameters),
      with_prefix(static_cast<double>(info.parameter_bytes)));
  if (compiled.failure.empty()) {
    put("{:<11} {} per run (a multiply-add is two)\n", "FLOPs", with_prefix(compiled.flops));
    put("{:<11} {}B for activations\n", "memory", with_prefix(static_cast<double>(compiled.arena_bytes)));
  }
  put("{:<11} {}\n", "nodes", info.nodes);
  print_operators(info.operators);
  if (!unsupported.empty()) {
    put("{:<11} {}\n", "unsupported", unsupported.front());
    for (std::size_t i = 1; i < unsupported.size(); ++i) put("{:<11} {}\n", "", unsupported[i]);
  } else if (!compiled.failure.empty()) {
    put("{:<11} {}\n", "fails", compiled.failure);
  } else {
    put("{:<11} {}\n", "unsupported", "nothing");
    if (with_plan) print_plan(compiled);
  }
}

}  // namespace

void add_info(CLI::App& app, Context& /*context*/) {
  CLI::App* verb = app.add_subcommand("info", "describe a network: inputs, outputs, size, cost, operators");
  auto options = std::make_shared<Options>();
  add_model(*verb, options->model);
  verb->add_flag("--plan", options->plan,
                 "list what runs, step by step, and why better kernels were refused");
  options->shape.add_to(*verb);
  options->json.add_to(*verb);
  add_example(*verb, "ember info models/digits_cnn.onnx --plan");
  verb->callback([options] {
    const ModelInfo info = Model::inspect(options->model);
    const std::vector<std::string> unsupported = Model::unsupported(options->model);
    const Compiled compiled = compile(*options);
    options->json.emit(to_json(info, unsupported, compiled, options->plan));
    if (!options->json.on_output()) print_text(info, unsupported, compiled, options->plan);
  });
}

}  // namespace ember::cli
