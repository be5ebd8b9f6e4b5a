#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ember/audit.hpp>
#include <ember/error.hpp>
#include <ember/file.hpp>
#include <ember/prune.hpp>
#include <ember/report.hpp>
#include <ember/verification.hpp>

#include "options.hpp"
#include "output.hpp"
#include "preprocess_options.hpp"
#include "progress.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

const std::map<std::string, PruneOnly> kOnly = {
    {"proved", PruneOnly::Proved}, {"silent", PruneOnly::Silent}, {"constant", PruneOnly::Constant}};

struct PruneVerb {
  std::string model, data, preprocess, audit_file, output, only, round = "auto", held_out, map_file;
  std::int64_t samples = 0;
  PruneOptions options;
  PreprocessOptions preprocessing;
  JsonOption json;
  bool dry_run = false;

  void run() {
    if (output.empty() == !dry_run) {
      throw Error(ErrorCode::InvalidArgument, "one of -o and --dry-run has to be given",
                  {.cure = "-o OUT.onnx writes the smaller network, --dry-run only says what it would be"});
    }
    if (!only.empty()) options.only = kOnly.at(only);
    options.round = round == "auto" ? 0 : std::stoll(round);
    const Model network = Model::load(model);
    const std::unique_ptr<Samples> calibration = open(network, data);
    const std::unique_ptr<Samples> other = open(network, held_out);
    const std::optional<AuditReport> report = report_of(network, calibration.get());
    const PruneResult result = report ? prune(network, *report, options) : prune(network, options);
    const Verification verification = check(network, result, calibration.get(), other.get());
    if (!dry_run) write(result);
    if (json.given()) json.emit_text(to_json(result, &verification));
    if (!json.on_output())
      put("{}\n{}", to_text(result, text_options()), to_text(verification, text_options()));
  }

 private:
  [[nodiscard]] std::unique_ptr<Samples> open(const Model& network, const std::string& file) const {
    if (file.empty()) return nullptr;
    const std::vector<ValueInfo> inputs = network.inputs();
    return open_samples(file, preprocessing.over(preprocess),
                        inputs.empty() ? std::string() : inputs.front().name);
  }

  [[nodiscard]] std::optional<AuditReport> report_of(const Model& network, Samples* calibration) const {
    if (!audit_file.empty()) return report_from_json_file(audit_file);
    if (calibration == nullptr) return std::nullopt;
    Progress progress("auditing");
    AuditOptions auditing{.samples = samples, .threads = options.threads, .explain = false};
    auditing.progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    return audit(network, *calibration, auditing);
  }

  [[nodiscard]] Verification check(const Model& network, const PruneResult& result, Samples* calibration,
                                   Samples* other) const {
    Progress progress("verifying");
    VerifyOptions verifying{.samples = samples,
                            .threads = options.threads,
                            .label_offset = preprocessing.over(preprocess).label_offset};
    verifying.progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    return verify(network, result.model, {.calibration = calibration, .held_out = other}, verifying);
  }

  /// The map first: a model that is there has its map beside it.
  void write(const PruneResult& result) const {
    const std::string map = channel_map_json(result) + "\n";
    const std::vector<std::byte> bytes = result.model.serialize();
    std::filesystem::path beside = map_file;
    if (map_file.empty()) beside = std::filesystem::path(output).replace_extension(".map.json");
    const std::vector<FileContent> files = {{beside, std::as_bytes(std::span(map))}, {output, bytes}};
    write_files(files);
  }

  static TextReportOptions text_options() {
    return {.width = output_width(),
            .color = is_terminal(STDOUT_FILENO) && std::getenv("NO_COLOR") == nullptr};
  }
};

std::string check_round(const std::string& text) {
  const bool number =
      !text.empty() && text.size() < 7 && text.find_first_not_of("0123456789") == std::string::npos;
  if (text == "auto" || (number && std::stoll(text) > 0)) return "";
  return "is neither auto nor a positive number";
}

}  // namespace

void add_prune(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("prune", "take channels out that are dead, constant or not read");
  auto self = std::make_shared<PruneVerb>();
  add_model(*verb, self->model);
  add_data(*verb, self->data, self->preprocess);
  self->preprocessing.add_to(*verb);
  add_samples(*verb, self->samples);
  add_threads(*verb, self->options.threads);
  verb->add_option("--audit", self->audit_file, "use this report of 'ember audit --json' instead of auditing")
      ->option_text("REPORT");
  verb->add_option("-o,--output", self->output, "the network to write; its channel map goes beside it")
      ->option_text("OUT");
  verb->add_option("--map", self->map_file,
                   "where to write the map of old to new channels (default OUT.map.json)")
      ->option_text("FILE");
  verb->add_option(
          "--only", self->only,
          "remove only what is proved dead, what is silent too, or what is constant at another value")
      ->check(CLI::IsMember(kOnly))
      ->option_text("proved|silent|constant");
  verb->add_option("--round", self->round,
                   "layers keep a multiple of N channels; auto: of the vector width where it is faster")
      ->check(check_round)
      ->option_text("auto|N");
  verb->add_option("--verify", self->held_out, "compare outputs on this other data as well")
      ->option_text("DATA");
  verb->add_flag("--linearize", self->options.linearize,
                 "fold units that never clip into the matrix products around them where that saves work");
  verb->add_flag("--dry-run", self->dry_run, "say what would be removed and gained, and write nothing");
  self->json.add_to(*verb);
  add_example(*verb,
              "ember prune models/digits_cnn_dead_bias.onnx --data models/digits_calibration.npz "
              "--verify models/digits_heldout.npz -o smaller.onnx");
  verb->callback([self] { self->run(); });
  (void)context;
}

}  // namespace ember::cli
