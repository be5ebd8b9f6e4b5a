#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ember/audit.hpp>
#include <ember/error.hpp>
#include <ember/explain.hpp>
#include <ember/statistics.hpp>

#include "options.hpp"
#include "output.hpp"
#include "preprocess_options.hpp"
#include "progress.hpp"
#include "ranks.hpp"
#include "report_output.hpp"
#include "shard_options.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

struct AuditVerb {
  std::string model, data, preprocess;
  AuditOptions options;
  PreprocessOptions preprocessing;
  ShardOptions shards;
  ReportOutput output;

  int run(Ranks& ranks) {
    output.prepare();
    shards.prepare(ranks);
    if (shards.partial() && ranks.size() == 1 && output.wanted()) {
      throw Error(ErrorCode::InvalidArgument,
                  "a shard is part of an audit: there is no report of it to write",
                  {.cure = "give these options to 'ember merge', with the statistics of all shards"});
    }
    ranks.together([&] { open(); });
    if (!shards.given()) return output.emit(watch());
    std::optional<AuditStatistics> statistics;
    ranks.together([&] { statistics = gather(ranks); });
    if (ranks.size() > 1) {
      const std::vector<std::vector<std::byte>> parts = ranks.gather(statistics->serialize());
      if (!ranks.leads()) return kSuccess;
      statistics = merged(parts);
    } else if (shards.partial()) {
      if (!output.quiet()) put(shards.summary(*statistics));
      return kSuccess;
    }
    AuditReport report = statistics->report();
    if (options.explain) {
      explain(*network_, *samples_, report, {.samples = options.explain_samples, .threads = options.threads});
    }
    return output.emit(report);
  }

 private:
  void open() {
    const Preprocessing wanted = preprocessing.over(preprocess);
    network_ = Model::load(model);
    const std::vector<ValueInfo> inputs = network_->inputs();
    samples_ = open_samples(data, wanted, inputs.empty() ? std::string() : inputs.front().name);
  }

  AuditReport watch() {
    Progress progress("auditing");
    AuditOptions shown = options;
    if (!output.quiet()) {
      shown.progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    }
    return audit(*network_, *samples_, shown);
  }

  AuditStatistics gather(const Ranks& ranks) {
    Progress progress("auditing");
    AuditOptions shown = options;
    shown.progress = [&](std::int64_t done, std::int64_t total) {
      ranks.check_others();
      if (!output.quiet()) progress.update(done, total);
    };
    return gather_statistics(*network_, *samples_, shown, shards.gathering());
  }

  static AuditStatistics merged(const std::vector<std::vector<std::byte>>& parts) {
    AuditStatistics total = AuditStatistics::parse(parts.front(), "MPI rank 0");
    for (std::size_t rank = 1; rank < parts.size(); ++rank) {
      total.merge(AuditStatistics::parse(parts[rank], fmt::format("MPI rank {}", rank)));
    }
    return total;
  }

  std::optional<Model> network_;
  std::unique_ptr<Samples> samples_;
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
  verb->add_flag("--explain,!--no-explain", self->options.explain,
                 "seek the cause of each unhealthy channel by running counterfactuals (default: yes)");
  verb->add_option(
          "--explain-samples", self->options.explain_samples,
          "how many samples each counterfactual is run on (default: 16 to 256, by the cost of the network)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40))
      ->option_text("N");
  self->shards.add_to(*verb);
  self->output.add_to(*verb);
  add_example(
      *verb,
      "ember audit models/digits_mlp_high_lr.onnx --data models/digits_calibration.npz --max-silent 0");
  verb->callback([self, &context] { context.status = self->run(context.ranks); });
}

}  // namespace ember::cli
