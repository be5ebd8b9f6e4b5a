#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include <ember/audit.hpp>
#include <ember/error.hpp>
#include <ember/report.hpp>

#include "options.hpp"
#include "output.hpp"
#include "preprocess_options.hpp"
#include "progress.hpp"
#include "report_files.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

/// How many silent channels a gate lets pass: a count, or a share of all channels in per cent.
struct SilentLimit {
  double value = 0;
  bool percent = false;

  explicit SilentLimit(std::string_view text) {
    const std::string_view whole = text;
    percent = text.ends_with('%');
    if (percent) text.remove_suffix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_count = value == static_cast<double>(static_cast<std::int64_t>(value));
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0) || value > 1e15 ||
        (percent ? value > 100 : !is_count)) {
      throw Error(ErrorCode::InvalidArgument, fmt::format("--max-silent {} is no limit", whole),
                  {.cure = "give a number of channels (0, 12) or a share of them (0.5%, 10%)"});
    }
  }

  [[nodiscard]] bool exceeded_by(std::int64_t silent, std::int64_t channels) const {
    if (!percent) return static_cast<double>(silent) > value;
    return 100.0 * static_cast<double>(silent) > value * static_cast<double>(channels);
  }
};

struct AuditVerb {
  std::string model, data, preprocess, max_silent;
  AuditOptions options;
  PreprocessOptions preprocessing;
  JsonOption json;
  ReportFiles files;
  bool quiet = false;

  int run() {
    const std::unique_ptr<SilentLimit> limit =
        max_silent.empty() ? nullptr : std::make_unique<SilentLimit>(max_silent);
    const Preprocessing wanted = preprocessing.over(preprocess);
    const Model network = Model::load(model);
    const std::vector<ValueInfo> inputs = network.inputs();
    const std::unique_ptr<Samples> samples =
        open_samples(data, wanted, inputs.empty() ? std::string() : inputs.front().name);
    const AuditReport report = watch(network, *samples);
    const bool failed = limit != nullptr && limit->exceeded_by(silent_channels(report), report.channels());
    // First: if a file cannot be written, nothing is printed.
    files.write(report, failed ? gate() : nullptr);
    if (json.given()) json.emit_text(to_json(report));
    if (!json.on_output() && !quiet) put(to_text(report, text_options()));
    if (!failed) return kSuccess;
    diagnose(fmt::format("gate failed: {} of {} channels silent, --max-silent is {}", silent_channels(report),
                         report.channels(), max_silent));
    return kGateFailed;
  }

 private:
  template <class Counted>  // a report or a layer
  static std::int64_t silent_channels(const Counted& counted) {
    return counted.count(Verdict::Silent) + counted.count(Verdict::ProvedDead);
  }

  /// Why the failed gate fails a layer.
  [[nodiscard]] std::function<std::string(const LayerReport&)> gate() const {
    return [this](const LayerReport& layer) {
      const std::int64_t silent = silent_channels(layer);
      if (silent == 0) return std::string();
      return fmt::format("{} of {} channels silent, and --max-silent {} is exceeded in all", silent,
                         layer.channels.size(), max_silent);
    };
  }

  AuditReport watch(const Model& network, Samples& samples) {
    Progress progress("auditing");
    if (!quiet) {
      options.progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    }
    return audit(network, samples, options);
  }

  static TextReportOptions text_options() {
    return {.width = output_width(),
            .color = is_terminal(STDOUT_FILENO) && std::getenv("NO_COLOR") == nullptr};
  }
};

}  // namespace

void add_audit(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("audit", "find channels that never fire, on data");
  auto self = std::make_shared<AuditVerb>();
  add_model(*verb, self->model);
  add_data(*verb, self->data, self->preprocess);
  verb->get_option("--data")->required();
  self->preprocessing.add_to(*verb);
  add_samples(*verb, self->options.samples);
  add_batch(*verb, self->options.batch);
  add_threads(*verb, self->options.threads);
  verb->add_option("--confidence", self->options.confidence,
                   "of all rate bounds together, between 0 and 1 (default 0.95)")
      ->option_text("C");
  verb->add_option("--rare", self->options.rare_below,
                   "a channel is rare when it fires in a smaller share of samples (default 0.001)")
      ->option_text("R");
  verb->add_option("--tau", self->options.dormant_tau,
                   "a channel is dormant when its mean is at most this part of its layer's (default 0)")
      ->option_text("T");
  verb->add_option("--max-silent", self->max_silent,
                   "exit with 1 when more channels are silent: a number, or a share such as 5%")
      ->option_text("N|P%");
  self->json.add_to(*verb);
  self->files.add_to(*verb);
  verb->add_flag("--quiet", self->quiet, "print no text and no progress; files and exit status say it all");
  add_example(
      *verb,
      "ember audit models/digits_mlp_high_lr.onnx --data models/digits_calibration.npz --max-silent 0");
  verb->callback([self, &context] { context.status = self->run(); });
}

}  // namespace ember::cli
