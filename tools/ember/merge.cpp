#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ember/statistics.hpp>

#include "options.hpp"
#include "output.hpp"
#include "report_output.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

struct MergeVerb {
  std::vector<std::string> files;
  std::string stats;
  ReportOutput output;

  int run() {
    output.prepare();
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
    const AuditReport report = total->report();
    if (!stats.empty()) total->save(stats);
    return output.emit(report);
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
  self->output.add_to(*verb);
  add_example(*verb,
              "ember audit models/digits_mlp.onnx --data models/digits_calibration.npz --shard 1/2 --stats "
              "1.stats\n"
              "  ember audit models/digits_mlp.onnx --data models/digits_calibration.npz --shard 2/2 --stats "
              "2.stats\n"
              "  ember merge 1.stats 2.stats");
  verb->callback([self, &context] { context.status = self->run(); });
}

}  // namespace ember::cli
