#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <ember/error.hpp>
#include <ember/npy.hpp>
#include <ember/session.hpp>

#include "comparison.hpp"
#include "options.hpp"
#include "output.hpp"
#include "verbs.hpp"
#include "watch.hpp"

namespace ember::cli {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Options {
  std::string model;
  std::vector<std::string> inputs;
  std::string output_dir;
  std::string expect;
  Tolerance tolerance;
  int threads = 1;
  std::vector<std::string> disabled_passes;
  bool reference = false;
  std::int64_t sample = -1;
  WatchOption watch;
  JsonOption json;
};

using Arrays = std::map<std::string, Tensor>;

/// Takes the arrays whose name starts with `prefix` out of a case, without the prefix.
Arrays take(Arrays& arrays, const std::string& prefix) {
  Arrays taken;
  for (auto& [name, tensor] : arrays) {
    if (name.starts_with(prefix)) taken.emplace(name.substr(prefix.size()), std::move(tensor));
  }
  return taken;
}

std::string listing(const std::vector<ValueInfo>& values) {
  std::vector<std::string> names;
  for (const ValueInfo& value : values) names.push_back("'" + value.name + "'");
  return fmt::format("{}", fmt::join(names, ", "));
}

/// "name=file.npy", or just "file.npy" for a model with one input. Names may contain '='.
std::pair<std::string, std::string> split_input(const std::string& text, const Model& model) {
  const std::vector<ValueInfo> inputs = model.inputs();
  for (const ValueInfo& input : inputs) {
    if (text.starts_with(input.name + "=")) return {input.name, text.substr(input.name.size() + 1)};
  }
  if (inputs.size() == 1 && (text.find('=') == std::string::npos || fs::exists(text)))
    return {inputs[0].name, text};
  throw Error(
      ErrorCode::InvalidArgument, fmt::format("--input '{}' names no input of the model", text),
      {.model = model.name(), .cure = "write --input NAME=FILE.npy; the model has " + listing(inputs)});
}

/// An .npy, or of an .npz the array named as the input, else "x".
Tensor load_input(const fs::path& file, const std::string& name) {
  if (file.extension() != ".npz") return load_npy(file);
  Arrays arrays = load_npz(file);
  auto found = arrays.find(name);
  if (found == arrays.end()) found = arrays.find("x");
  if (found != arrays.end()) return std::move(found->second);
  throw Error(ErrorCode::InvalidData,
              fmt::format("'{}' has neither an array '{}' nor 'x'", file.string(), name));
}

TensorMap gather_inputs(const Options& options, const Model& model, Arrays from_case) {
  TensorMap inputs;
  for (const std::string& text : options.inputs) {
    const auto [name, file] = split_input(text, model);
    if (!inputs.emplace(name, load_input(file, name)).second) {
      throw Error(ErrorCode::InvalidArgument, fmt::format("--input gives '{}' twice", name));
    }
  }
  inputs.merge(from_case);
  for (const ValueInfo& input : model.inputs()) {
    if (inputs.contains(input.name)) continue;
    throw Error(ErrorCode::InvalidArgument, "this input is missing",
                {.model = model.name(),
                 .tensor = input.name,
                 .cure = fmt::format("add --input {}=FILE.npy", input.name)});
  }
  return inputs;
}

/// Sample `which` of every array, by its first axis.
void choose_sample(TensorMap& inputs, std::int64_t which, const Model& model) {
  for (auto& [name, tensor] : inputs) {
    const Shape& shape = tensor.shape();
    if (shape.rank() < 1 || which >= shape[0]) {
      throw Error(
          ErrorCode::InvalidArgument,
          fmt::format("--sample {} of an array of the shape {}", which, to_string(shape)),
          {.model = model.name(), .tensor = name, .cure = "samples count from 0 along the first axis"});
    }
    Tensor one(tensor.type(), shape.with(0, 1));
    const auto bytes = static_cast<std::size_t>(one.elements()) * size_of(tensor.type());
    std::memcpy(one.view().raw(),
                static_cast<const std::byte*>(tensor.view().raw()) + static_cast<std::size_t>(which) * bytes,
                bytes);
    tensor = std::move(one);
  }
}

/// One file per output; what a path cannot hold in a name becomes '_'.
std::map<std::string, fs::path> name_files(const TensorMap& outputs, const fs::path& folder) {
  std::map<std::string, fs::path> files;
  std::map<fs::path, std::string> taken;
  for (const auto& [name, tensor] : outputs) {
    std::string stem = name.empty() || name.front() == '.' ? "_" + name : name;
    for (char& c : stem) c = c == '/' || static_cast<unsigned char>(c) < 0x20 ? '_' : c;
    fs::path file = folder / (stem + ".npy");
    for (int number = 2; taken.contains(file); ++number)
      file = folder / fmt::format("{}_{}.npy", stem, number);
    taken.emplace(file, name);
    files.emplace(name, file);
  }
  return files;
}

void save_outputs(const TensorMap& outputs, const std::map<std::string, fs::path>& files,
                  const fs::path& folder) {
  std::error_code error;
  const bool created = fs::create_directories(folder, error);
  if (error) {
    throw Error(ErrorCode::Io,
                fmt::format("cannot create the folder '{}': {}", folder.string(), error.message()));
  }
  std::map<fs::path, ConstTensorView> contents;
  for (const auto& [name, tensor] : outputs) contents.emplace(files.at(name), tensor.view());
  try {
    save_npy(contents);
  } catch (const Error&) {
    if (created) fs::remove(folder, error);
    throw;
  }
}

/// What a person wants to see of an output at first.
struct Summary {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  double sum = 0;
  std::int64_t not_finite = 0;
};

Summary summarize(const Tensor& tensor) {
  Summary summary;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    const double value = element(tensor.view(), i);
    if (!std::isfinite(value)) {
      ++summary.not_finite;
      continue;
    }
    summary.low = std::min(summary.low, value);
    summary.high = std::max(summary.high, value);
    summary.sum += value;
  }
  return summary;
}

std::string summary_text(const Tensor& tensor) {
  const Summary summary = summarize(tensor);
  const std::int64_t finite = tensor.elements() - summary.not_finite;
  std::string text;
  if (finite > 0) {
    text = fmt::format("min {:.6g}  mean {:.6g}  max {:.6g}", summary.low,
                       summary.sum / static_cast<double>(finite), summary.high);
  }
  if (summary.not_finite > 0) {
    text += fmt::format("{}{} not finite", text.empty() ? "" : "  ", with_separators(summary.not_finite));
  }
  return text;
}

std::string comparison_text(const Comparison& comparison) {
  std::string text = fmt::format("{}  max abs {:.3g}  max rel {:.3g}", comparison.passed() ? "pass" : "FAIL",
                                 comparison.max_absolute, comparison.max_relative);
  if (!comparison.mismatch.empty()) text = "FAIL  " + comparison.mismatch;
  if (!comparison.outside.empty()) {
    text += fmt::format("  {} elements outside",
                        with_separators(static_cast<std::int64_t>(comparison.outside.size())));
  }
  if (comparison.ill_conditioned > 0) {
    text +=
        fmt::format("  {} ill-conditioned elements not counted", with_separators(comparison.ill_conditioned));
  }
  return text;
}

Json comparison_json(const Comparison& comparison) {
  Json json{{"passed", comparison.passed()}};
  if (!comparison.mismatch.empty()) json["mismatch"] = comparison.mismatch;
  json["max_abs"] = comparison.max_absolute;
  json["max_rel"] = comparison.max_relative;
  json["outside"] = comparison.outside.size();
  json["ill_conditioned"] = comparison.ill_conditioned;
  return json;
}

void report(const Options& options, const TensorMap& outputs, const std::map<std::string, fs::path>& files,
            const std::map<std::string, Comparison>& comparisons, bool passed) {
  Json list = Json::array();
  for (const auto& [name, tensor] : outputs) {
    const auto comparison = comparisons.find(name);
    const auto file = files.find(name);
    Json entry{{"name", name}, {"dtype", to_string(tensor.type())}, {"shape", tensor.shape().dims()}};
    if (file != files.end()) entry["file"] = file->second.string();
    if (comparison != comparisons.end()) entry["comparison"] = comparison_json(comparison->second);
    list.push_back(std::move(entry));
    if (options.json.on_output()) continue;
    const std::string state =
        comparison != comparisons.end() ? comparison_text(comparison->second) : summary_text(tensor);
    put("{}  {} {}  {}\n", name, to_string(tensor.type()), to_string(tensor.shape()), state);
    if (file != files.end()) put("  → {}\n", file->second.string());
  }
  if (options.watch.given() && !options.json.on_output()) put(options.watch.text());
  Json json{{"schema", "ember-run-1"}, {"model", options.model}, {"outputs", std::move(list)}};
  if (options.watch.given()) json["watched"] = options.watch.json();
  if (!options.expect.empty()) json["passed"] = passed;
  options.json.emit(json);
}

/// Judges what the network gave by what a case expects of it.
class Judgement {
 public:
  Judgement(const Model& model, const SessionOptions& session, const TensorMap& inputs,
            const Options& options)
      : model_(model), session_(session), inputs_(inputs), options_(options) {}

  std::map<std::string, Comparison> compare_all(const TensorMap& outputs, const Arrays& expected) {
    std::map<std::string, Comparison> comparisons;
    const std::vector<ValueInfo> infos = model_.outputs();
    for (const auto& [name, tensor] : expected) {
      const auto found = outputs.find(name);
      if (found == outputs.end()) {
        throw Error(
            ErrorCode::InvalidData,
            fmt::format("'{}' expects an output '{}', which the model does not have", options_.expect, name));
      }
      const auto info = std::ranges::find(infos, name, &ValueInfo::name);
      Comparison comparison = compare(found->second.view(), tensor.view(), options_.tolerance,
                                      info == infos.end() ? 0 : info->quantization_step);
      if (!comparison.outside.empty() && is_floating(tensor.type()) && !options_.tolerance.absolute)
        forgive_ill_conditioned(comparison, found->second.view(), tensor.view(), other_ways(name));
      comparisons.emplace(name, std::move(comparison));
    }
    return comparisons;
  }

 private:
  /// The output computed in ways, and from inputs, that are equal but for rounding.
  std::vector<ConstTensorView> other_ways(const std::string& name) {
    if (others_.empty()) {
      SessionOptions by_reference = session_;
      by_reference.reference_only = {"*"};
      SessionOptions as_written = session_;
      const std::vector<std::string> passes = pass_names();
      as_written.disabled_passes = {passes.begin(), passes.end()};
      for (const SessionOptions& way : {by_reference, as_written})
        others_.push_back(Session(model_, way).run(inputs_));
      for (const std::uint32_t seed : {1U, 2U, 3U, 4U, 5U, 6U})
        others_.push_back(Session(model_, session_).run(nudged_inputs(seed)));
    }
    std::vector<ConstTensorView> views;
    for (const TensorMap& outputs : others_) views.push_back(outputs.at(name).view());
    return views;
  }

  /// The inputs, each float moved by one unit in the last place at most.
  [[nodiscard]] TensorMap nudged_inputs(std::uint32_t seed) const {
    std::mt19937 generator(seed);
    std::uniform_int_distribution<int> direction(-1, 1);
    TensorMap nudged = inputs_;
    for (auto& [name, tensor] : nudged) {
      if (tensor.type() != DataType::Float32) continue;
      for (float& value : tensor.data<float>())
        value = std::nextafter(value, value + static_cast<float>(direction(generator)) * std::abs(value));
    }
    return nudged;
  }

  const Model& model_;
  const SessionOptions& session_;
  const TensorMap& inputs_;
  const Options& options_;
  std::vector<TensorMap> others_;
};

int run(Options& options) {
  Model model = Model::load(options.model);
  Arrays expected_case;
  if (!options.expect.empty()) expected_case = load_npz(options.expect);
  const Arrays expected = take(expected_case, "out/");
  if (!options.expect.empty() && expected.empty()) {
    throw Error(ErrorCode::InvalidData, fmt::format("'{}' expects nothing", options.expect),
                {.cure = "it must hold arrays named out/<output>, and may hold in/<input>"});
  }
  TensorMap inputs = gather_inputs(options, model, take(expected_case, "in/"));
  if (options.sample >= 0) choose_sample(inputs, options.sample, model);

  SessionOptions session_options{.threads = options.threads};
  for (const auto& [name, tensor] : inputs) session_options.input_shapes.emplace(name, tensor.shape());
  session_options.disabled_passes = {options.disabled_passes.begin(), options.disabled_passes.end()};
  if (options.reference) session_options.reference_only = {"*"};
  std::optional<Model> kept;
  if (!expected.empty() || options.watch.given()) kept = model;
  session_options.release_weights = !kept.has_value();
  Session session(std::move(model), session_options);
  const TensorMap outputs = session.run(inputs);

  std::map<std::string, Comparison> comparisons;
  if (!expected.empty())
    comparisons = Judgement(*kept, session_options, inputs, options).compare_all(outputs, expected);
  const bool passed =
      std::all_of(comparisons.begin(), comparisons.end(), [](const auto& c) { return c.second.passed(); });
  if (options.watch.given()) options.watch.run(*kept, inputs, options.threads);
  std::map<std::string, fs::path> files;
  if (!options.output_dir.empty()) {
    files = name_files(outputs, options.output_dir);
    save_outputs(outputs, files, options.output_dir);
  }
  report(options, outputs, files, comparisons, passed);
  return passed ? kSuccess : kGateFailed;
}

}  // namespace

void add_run(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("run", "run a network on arrays, and compare with what is expected");
  auto options = std::make_shared<Options>();
  add_model(*verb, options->model);
  verb->add_option("--input", options->inputs,
                   "an input's array (.npy; .npz: named as the input, or x); a sole input needs no NAME=")
      ->take_all()
      ->allow_extra_args(false)
      ->option_text("[NAME=]FILE");
  verb->add_option("--output-dir", options->output_dir, "write every output there, as <name>.npy")
      ->option_text("DIR");
  verb->add_option("--expect", options->expect,
                   "compare with arrays out/<name>; in/<name> are inputs unless --input gives them")
      ->option_text("FILE.npz");
  verb->add_option("--atol", options->tolerance.absolute,
                   "allowed absolute error (default 1e-4; half precision 1e-3, quantised four steps)")
      ->check(CLI::NonNegativeNumber)
      ->option_text("X");
  verb->add_option("--rtol", options->tolerance.relative, "and relative to the expected value (default 1e-3)")
      ->check(CLI::NonNegativeNumber)
      ->option_text("X");
  verb->add_option("--sample", options->sample,
                   "run only this sample of the input arrays, counted from 0 along their first axis")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40))
      ->option_text("K");
  options->watch.add_to(*verb);
  add_threads(*verb, options->threads);
  verb->add_option("--disable-pass", options->disabled_passes,
                   fmt::format("leave out a graph pass: {}", fmt::join(pass_names(), ", ")))
      ->take_all()
      ->allow_extra_args(false)
      ->check(CLI::IsMember(pass_names()))
      ->option_text("NAME");
  verb->add_flag("--reference", options->reference, "run every operator by its plain reference (slow)");
  options->json.add_to(*verb);
  add_example(*verb,
              "ember run models/digits_cnn.onnx --input models/digits_heldout.npz --output-dir scores");
  verb->callback([options, &context] { context.status = run(*options); });
}

}  // namespace ember::cli
