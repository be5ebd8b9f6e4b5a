#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ember/audit.hpp>
#include <ember/checkpoints.hpp>
#include <ember/error.hpp>
#include <ember/explain.hpp>
#include <ember/gradients.hpp>
#include <ember/labels.hpp>
#include <ember/npy.hpp>
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
  std::vector<std::string> models;
  std::string data, preprocess, groups, labels, domain, witnesses;
  AuditOptions options;
  PreprocessOptions preprocessing;
  ShardOptions shards;
  ReportOutput output;

  int run(Ranks& ranks) {
    output.prepare();
    shards.prepare(ranks);
    prepare_domain();
    if (models.size() > 1) return follow_checkpoints(ranks);
    if (shards.partial() && ranks.size() == 1 && output.wanted()) {
      throw Error(ErrorCode::InvalidArgument,
                  "a shard is part of an audit: there is no report of it to write",
                  {.cure = "give these options to 'ember merge', with the statistics of all shards"});
    }
    ranks.together([&] { open(); });
    if (!shards.given()) return emit(watch());
    std::optional<AuditStatistics> statistics;
    std::vector<std::byte> mine;
    ranks.together([&] {
      statistics = gather(ranks);
      if (ranks.size() > 1) mine = statistics->serialize();
    });
    if (ranks.size() > 1) {
      const std::vector<std::vector<std::byte>> parts = ranks.gather(mine);
      if (!ranks.leads()) return kSuccess;
      statistics = merged(parts);
    } else if (shards.partial()) {
      if (!output.quiet()) put(shards.summary(*statistics));
      return kSuccess;
    }
    AuditReport report = statistics->report();
    if (options.explain && !options.counts_only) {
      explain(*network_, *samples_, report, {.samples = options.explain_samples, .threads = options.threads});
    }
    if (!options.labels.empty()) {
      back_propagate(
          *network_, *samples_, report,
          {.labels = options.labels, .samples = options.gradient_samples, .threads = options.threads});
    }
    return output.emit(report);
  }

 private:
  void prepare_domain() {
    const bool given = !domain.empty() || options.domain_from_data;
    if (!witnesses.empty() && !given) {
      throw Error(ErrorCode::InvalidArgument, "--witnesses without a domain to look for them in",
                  {.cure = "add --domain FILE.npz or --domain-from-data"});
    }
    if (given && shards.given()) {
      throw Error(ErrorCode::InvalidArgument, "proofs are not shared among the parts of an audit",
                  {.cure = "run the audit with a domain in one process"});
    }
    if (!domain.empty()) options.domain = InputDomain::load(domain);
  }

  /// Witnesses first: if a file cannot be written, nothing is printed.
  int emit(const AuditReport& report) {
    if (!witnesses.empty()) save_witnesses(report);
    return output.emit(report);
  }

  /// The witnesses as samples of the model's input, and which channel each fires.
  void save_witnesses(const AuditReport& report) const {
    std::vector<float> values;
    std::vector<std::int64_t> channels, layers;
    std::vector<float> reached;
    std::vector<std::int64_t> dims = {static_cast<std::int64_t>(report.witnesses.size())};
    for (const Witness& witness : report.witnesses) {
      const auto input = witness.input.data<float>();
      values.insert(values.end(), input.begin(), input.end());
      channels.push_back(witness.channel);
      reached.push_back(static_cast<float>(witness.value));
      const auto layer = std::ranges::find(report.layers(), witness.node, &LayerReport::node);
      layers.push_back(layer - report.layers().begin());
    }
    if (!report.witnesses.empty()) {
      const Shape& shape = report.witnesses.front().input.shape();
      for (int axis = 1; axis < shape.rank(); ++axis) dims.push_back(shape[axis]);
    }
    std::map<std::string, Tensor> arrays;
    const Shape count{dims[0]};
    arrays.emplace(network_->inputs().front().name, Tensor(Shape(dims), values));
    arrays.emplace("layer", Tensor(count, layers));
    arrays.emplace("channel", Tensor(count, channels));
    arrays.emplace("pre_activation", Tensor(count, reached));
    save_npz(witnesses, arrays);
  }

  void open() {
    const Preprocessing wanted = preprocessing.over(preprocess);
    network_ = Model::load(models.front());
    const std::vector<ValueInfo> inputs = network_->inputs();
    if (!groups.empty()) options.groups = load_labels(groups, "groups");
    samples_ = open_samples(data, wanted, inputs.empty() ? std::string() : inputs.front().name);
    if (!labels.empty()) {
      options.labels = load_labels(labels, "y");
      for (std::int64_t& label : options.labels) label += wanted.label_offset;
    }
  }

  /// Several models are one network in training.
  int follow_checkpoints(const Ranks& ranks) {
    if (shards.given() || ranks.size() > 1 || output.judges() || !witnesses.empty()) {
      throw Error(ErrorCode::InvalidArgument,
                  "checkpoints are followed in one run, and make no single report",
                  {.cure = "audit one checkpoint for shards, gates, witnesses, SARIF and JUnit"});
    }
    open();
    std::vector<Model> checkpoints = {*network_};
    for (std::size_t i = 1; i < models.size(); ++i) checkpoints.push_back(Model::load(models[i]));
    Progress progress("auditing");
    AuditOptions shown = options;
    if (!output.quiet()) {
      shown.progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    }
    return output.emit(follow(checkpoints, *samples_, shown));
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
  verb->add_option(
          "MODEL", self->models,
          "the network, an ONNX file; several: its checkpoints in training, whose channels are followed")
      ->required()
      ->expected(1, 1000)
      ->option_text(" ...");
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
  verb->add_option(
          "--groups", self->groups,
          ".npy or .npz (array groups): a whole number per sample, such as the video a frame is from; "
          "then the group is the trial, not the sample")
      ->option_text("FILE");
  verb->add_flag(
      "--counts-only", self->options.counts_only,
      "count firing and nothing else, which is faster; verdicts and causes that need more are left out");
  verb->add_option(
          "--labels", self->labels,
          ".npy or .npz (array y): the class of each sample; back-propagates the cross-entropy of the scores "
          "and tells which channels get no gradient and which layers' vanish")
      ->option_text("FILE");
  verb->add_option("--gradient-samples", self->options.gradient_samples,
                   "how many samples to back-propagate (default: 16 to 4096, by the cost of the network)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40))
      ->option_text("N");
  verb->add_flag("--explain,!--no-explain", self->options.explain,
                 "seek the cause of each unhealthy channel by running counterfactuals (default: yes)");
  add_explain_samples(*verb, self->options.explain_samples);
  CLI::Option* domain =
      verb->add_option("--domain", self->domain,
                       "prove channels dead, or find inputs that fire them, among inputs between the arrays "
                       "'lower' and 'upper' of this .npz (scalars, or shaped like the input)")
          ->option_text("FILE.npz");
  verb->add_flag("--domain-from-data", self->options.domain_from_data,
                 "the same between the smallest and largest value of each input element in the data")
      ->excludes(domain);
  verb->add_option("--time-limit", self->options.time_limit,
                   "seconds for proofs and witnesses; what is known by then is reported (default 60)")
      ->option_text("S");
  verb->add_option("--witnesses", self->witnesses,
                   "write the inputs that fire channels silent on the data, for --data of an audit, or "
                   "'ember run --watch'")
      ->option_text("FILE.npz");
  self->shards.add_to(*verb);
  self->output.add_to(*verb);
  add_example(
      *verb,
      "ember audit models/digits_mlp_high_lr_step0*.onnx --data models/digits_calibration.npz\n"
      "  ember audit models/digits_mlp_high_lr.onnx --data models/digits_calibration.npz --max-silent 0");
  verb->callback([self, &context] { context.status = self->run(context.ranks); });
}

}  // namespace ember::cli
