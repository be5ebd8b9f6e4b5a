#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ember/error.hpp>
#include <ember/explain.hpp>
#include <ember/model.hpp>
#include <ember/samples.hpp>
#include <ember/statistics.hpp>

#include "options.hpp"
#include "output.hpp"
#include "preprocess_options.hpp"
#include "report_output.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

struct MergeVerb {
  std::vector<std::string> files;
  std::string stats;
  std::string model, data, preprocess;
  PreprocessOptions preprocessing;
  ExplainOptions explaining;
  ReportOutput output;

  int run() {
    output.prepare();
    if (model.empty() != data.empty()) {
      throw Error(ErrorCode::InvalidArgument, "causes take both --model and --data",
                  {.cure = "give the model and the data that were audited, or neither"});
    }
    std::optional<AuditStatistics> total;
    for (const std::string& file : files) {
      AuditStatistics part = AuditStatistics::load(file);
      if (total) total->merge(part);
      else total = std::move(part);
    }
    // Parts of an audit may be put together by and by; a report takes all of it.
    if (!stats.empty() && !total->complete() && !output.wanted()) {
      total->save(stats);
      if (!output.quiet())
        put("samples are missing for a report; what there is has been merged in {}\n", stats);
      return kSuccess;
    }
    AuditReport report = total->report();
    if (!stats.empty()) total->save(stats);
    if (!model.empty()) seek_causes(*total, report);
    return output.emit(report);
  }

 private:
  /// Statistics do not show why a channel is silent; the network and its data do.
  void seek_causes(const AuditStatistics& statistics, AuditReport& report) const {
    const Model network = Model::load(model);
    const std::vector<ValueInfo> inputs = network.inputs();
    const std::unique_ptr<Samples> samples = open_samples(
        data, preprocessing.over(preprocess), inputs.empty() ? std::string() : inputs.front().name);
    statistics.require_counted_on(network, *samples);
    explain(network, *samples, report, explaining);
  }
};

}  // namespace

void add_merge(CLI::App& app, Context& context) {
  CLI::App* verb =
      app.add_subcommand("merge", "make one report of the statistics of shards ('ember audit --shard')");
  auto self = std::make_shared<MergeVerb>();
  verb->add_option("FILE", self->files, "the statistics of every shard, in any order")
      ->required()
      ->option_text(" ");
  verb->add_option("--stats", self->stats, "keep the merged statistics in FILE, complete or not")
      ->option_text("FILE");
  verb->add_option(
          "--model", self->model,
          "the network that was audited, to seek the causes of unhealthy channels; takes --data, too")
      ->option_text("FILE");
  add_data(*verb, self->data, self->preprocess);
  self->preprocessing.add_to(*verb);
  add_explain_samples(*verb, self->explaining.samples);
  add_threads(*verb, self->explaining.threads);
  self->output.add_to(*verb);
  add_example(*verb,
              "ember audit models/digits_mlp.onnx --data models/digits_calibration.npz --shard 1/2 --stats "
              "1.stats\n"
              "  ember audit models/digits_mlp.onnx --data models/digits_calibration.npz --shard 2/2 --stats "
              "2.stats\n"
              "  ember merge 1.stats 2.stats --model models/digits_mlp.onnx --data "
              "models/digits_calibration.npz");
  verb->callback([self, &context] { context.status = self->run(); });
}

}  // namespace ember::cli
