#include <ember/audit.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include <ember/explain.hpp>
#include <ember/statistics.hpp>

#include "audit/channel_axis.hpp"
#include "audit/channel_watch.hpp"
#include "audit/feed.hpp"
#include "audit/fingerprint.hpp"
#include "audit/layer_links.hpp"
#include "audit/prove.hpp"
#include "audit/signs.hpp"
#include "audit/statistics_data.hpp"
#include "onnx/write.hpp"
#include "ops/activation_pattern.hpp"
#include "runtime/session_impl.hpp"
#include "simd/isa.hpp"

namespace ember {

namespace {

using auditing::ChannelWatch;
using auditing::Feed;
using auditing::LayerRecord;
using auditing::StatisticsData;
using ops::ActivationPattern;

/// What is known of an activation before anything has been run.
LayerRecord record_of(const graph::Graph& graph, const ActivationPattern& pattern) {
  LayerRecord record;
  record.node = graph.label(pattern.nodes.back());
  record.op = ops::to_string(pattern.function.kind);
  record.value = graph.value(pattern.output).name;
  if (pattern.nodes.size() > 1) {
    for (const graph::NodeId id : pattern.nodes) record.pattern.push_back(graph.label(id));
  }
  record.function = pattern.function;
  record.function.slopes = nullptr;
  if (pattern.slopes) record.slopes = *pattern.slopes;
  record.network_output = graph.is_output(pattern.output);
  return record;
}

/// What the audit cannot see: activations without a pattern, and those inside other operators.
std::vector<std::string> unwatched(const graph::Graph& graph, std::span<const ActivationPattern> patterns) {
  static constexpr std::array<std::string_view, 16> kActivations = {
      "Relu", "LeakyRelu", "PRelu",       "Elu",       "Selu", "Celu",     "ThresholdedRelu",
      "Gelu", "Sigmoid",   "HardSigmoid", "HardSwish", "Mish", "Softplus", "Softsign",
      "Tanh", "Clip"};
  std::set<graph::NodeId> seen;
  for (const ActivationPattern& pattern : patterns) seen.insert(pattern.nodes.begin(), pattern.nodes.end());
  std::map<std::string, std::vector<std::string>> missed;
  for (const graph::NodeId id : graph.order()) {
    const graph::Node& node = graph.node(id);
    const auto miss = [&](const char* why) {
      missed[fmt::format("{}: {}", node.op, why)].push_back(graph.label(id));
    };
    if (std::ranges::find(kActivations, node.op) != kActivations.end() && !seen.contains(id)) {
      miss("its parameters are computed, or it is not of floats");
    } else if (node.op == "LSTM" || node.op == "GRU" || node.op == "RNN") {
      miss("gates inside a recurrent layer are not watched");
    } else if (node.op.starts_with("QLinear")) {
      miss("a quantised activation that is part of it is not watched");
    } else if (std::ranges::any_of(node.attributes, [](const auto& attribute) {
                 return std::holds_alternative<std::shared_ptr<const graph::Graph>>(attribute.second);
               })) {
      miss("activations inside its branches are not watched");
    }
  }
  std::vector<std::string> notes;
  for (const auto& [what, nodes] : missed) {
    notes.push_back(nodes.size() == 1
                        ? fmt::format("{} ({})", what, nodes.front())
                        : fmt::format("{} ({} and {} more)", what, nodes.front(), nodes.size() - 1));
  }
  return notes;
}

/// Runs one part of the samples and counts.
class Gatherer {
 public:
  Gatherer(const Model& model, Samples& samples, const AuditOptions& options, const GatherOptions& gathering)
      : model_(model),
        samples_(samples),
        options_(options),
        gathering_(gathering),
        graph_(runtime::optimized_graph(model)),
        patterns_(ops::find_activations(*graph_)),
        fingerprints_(*graph_, patterns_),
        total_(options.samples > 0 ? std::min(options.samples, samples.count()) : samples.count()),
        feed_(model, options.batch, total_) {
    if (total_ > 0) return;
    throw Error(ErrorCode::InvalidData, "the data holds no sample", {.tensor = samples.description()});
  }

  AuditStatistics run() {
    identify();
    range_ = auditing::range_of(gathering_.shard, total_, data_.segment);
    const bool resumed = !gathering_.file.empty() && std::filesystem::exists(gathering_.file);
    if (resumed) resume();
    const std::int64_t first = data_.covered.empty() ? range_.first : data_.covered.back().end;
    if (first < range_.end) {
      const StatisticsData before = data_;
      if (!pass(first)) {
        // Some value mixes the batch with another axis; one sample per run keeps samples apart.
        feed_.set_batch(1);
        data_ = before;
        pass(first);
      }
    }
    find_dead_by_sign();
    if (!gathering_.file.empty() && !(resumed && first == range_.end)) save();
    return AuditStatistics(std::make_unique<StatisticsData>(std::move(data_)));
  }

 private:
  void find_dead_by_sign() {
    const Shape shape = feed_.shape();
    const Shape one = feed_.open_batch() && shape.rank() > 1 ? shape.with(0, 1) : shape;
    const auto dead = auditing::dead_by_sign(model_, {{feed_.input(), one}}, data_.layers);
    for (std::size_t i = 0; i < dead.size(); ++i) data_.layers[i].dead_by_sign = dead[i];
  }

  /// Fills in what makes two audits the same.
  void identify() {
    data_.model = model_.name();
    data_.model_hash = onnx::hash_bytes(model_.graph());
    data_.data = samples_.description();
    data_.data_hash = samples_.content_hash();
    data_.data_settings = samples_.settings();
    data_.isa = std::string(simd::to_string(simd::choose_isa()));
    data_.samples = total_;
    data_.batch = feed_.open_batch() ? 1 : feed_.batch();
    data_.segment = auditing::segment_length(total_, data_.batch);
    data_.counts_only = options_.counts_only;
    data_.confidence = options_.confidence;
    data_.rare_below = options_.rare_below;
    data_.dormant_tau = options_.dormant_tau;
    number_groups();
    data_.notes = unwatched(*graph_, patterns_);
    if (patterns_.empty()) data_.notes.emplace_back("the model has no activation that can be watched");
    for (const ActivationPattern& pattern : patterns_) data_.layers.push_back(record_of(*graph_, pattern));
    const std::vector<auditing::LayerLinks> links = auditing::link_layers(*graph_, patterns_);
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      data_.layers[i].fingerprint = fingerprints_.layer(i);
      data_.layers[i].links = links[i];
    }
  }

  /// Numbers the groups in the order in which they appear.
  void number_groups() {
    if (options_.groups.empty()) return;
    if (static_cast<std::int64_t>(options_.groups.size()) != samples_.count()) {
      throw Error(ErrorCode::InvalidData,
                  fmt::format("{} group labels for {} samples", options_.groups.size(), samples_.count()),
                  {.tensor = samples_.description(), .cure = "give one label for each sample of the data"});
    }
    std::map<std::int64_t, std::int64_t> numbers;
    for (const std::int64_t label : std::span(options_.groups).first(static_cast<std::size_t>(total_))) {
      const auto next = static_cast<std::int64_t>(numbers.size());
      data_.groups.push_back(numbers.emplace(label, next).first->second);
    }
    data_.group_count = static_cast<std::int64_t>(numbers.size());
  }

  /// Takes over what an interrupted run has left.
  void resume() {
    AuditStatistics left = AuditStatistics::load(gathering_.file);
    auditing::require_same_audit(data_, left.data(), gathering_.file.string());
    const std::vector<SampleRange>& covered = left.covered();
    const bool begun =
        covered.size() == 1 && covered.front().first == range_.first && covered.front().end <= range_.end;
    if (!begun && !covered.empty()) {
      throw Error(
          ErrorCode::InvalidData,
          fmt::format("'{}' holds {} of {}, which this run ({}) did not begin", gathering_.file.string(),
                      auditing::describe(covered), total_, auditing::describe({range_})),
          {.cure = "give each shard a file of its own"});
    }
    if (begun) data_ = left.data();
  }

  void save() {
    AuditStatistics(std::make_unique<StatisticsData>(data_)).save(gathering_.file);
    saved_ = std::chrono::steady_clock::now();
  }

  /// Counts samples from `first` on. False: stopped after the first batch, which showed that batches must be
  /// given up.
  bool pass(std::int64_t first) {
    watches_.clear();
    std::vector<runtime::ProbePoint> probes;
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      const ActivationPattern& pattern = patterns_[i];
      // The slopes of a PRelu say which axis the channels are on.
      const bool sloped =
          pattern.function.kind == kernels::ActivationKind::PRelu && pattern.function.slope_count > 1;
      watches_.push_back(std::make_unique<ChannelWatch>(
          pattern.function, !sloped && auditing::channels_last(*graph_, pattern.input), data_.segment,
          total_));
      watches_.back()->set_groups(data_.groups);
      if (options_.counts_only) watches_.back()->count_only();
      watches_.back()->restore(std::move(data_.layers[i].totals));
      probes.push_back({graph_->value(pattern.input).name, watches_.back().get(), watches_.back()->rule()});
    }
    SessionOptions session_options;
    session_options.threads = options_.threads;
    session_options.input_shapes = {{feed_.input(), feed_.shape()}};
    Session session = runtime::make_session(model_, std::move(session_options), std::move(probes));
    saved_ = std::chrono::steady_clock::now();
    not_finite_.clear();
    for (std::int64_t done = first; done < range_.end;) {
      const std::int64_t n = std::min(feed_.batch(), range_.end - done);
      feed_.load(samples_, done, n, session, not_finite_);
      for (const auto& watch : watches_) watch->expect(feed_.batch(), n, done);
      session.run();
      done += n;
      if (batch_missing() && feed_.open_batch()) return false;
      if (options_.progress) options_.progress(done - range_.first, range_.end - range_.first);
      checkpoint(done);
    }
    collect(range_.end);
    return true;
  }

  [[nodiscard]] bool batch_missing() const {
    return std::ranges::any_of(watches_, [](const auto& watch) { return watch->batch_missing(); });
  }

  /// Saves now and then what is whole when samples up to `done` have been run.
  void checkpoint(std::int64_t done) {
    const std::int64_t whole = done / data_.segment * data_.segment;
    const std::int64_t known = data_.covered.empty() ? range_.first : data_.covered.back().end;
    if (gathering_.file.empty() || whole <= known || done >= range_.end) return;
    if (std::chrono::steady_clock::now() - saved_ < gathering_.save_every) return;
    collect(whole);
    save();
  }

  /// Takes what the watches have counted of samples before `end`, where a segment ends.
  void collect(std::int64_t end) {
    for (std::size_t i = 0; i < watches_.size(); ++i) {
      LayerRecord& layer = data_.layers[i];
      layer.totals = watches_[i]->totals();
      layer.channel_axis = watches_[i]->channel_axis();
      layer.batch_missing |= watches_[i]->batch_missing();
      layer.unwatchable |= watches_[i]->unwatchable();
      if (layer.channel_fingerprints.size() != layer.totals.channels.size()) {
        layer.channel_fingerprints = fingerprints_.channels(i, watches_[i]->channels());
      }
    }
    data_.samples_not_finite += std::erase_if(not_finite_, [&](std::int64_t sample) { return sample < end; });
    data_.covered = {{range_.first, end}};
  }

  const Model& model_;
  Samples& samples_;
  const AuditOptions& options_;
  const GatherOptions& gathering_;
  std::shared_ptr<const graph::Graph> graph_;
  std::vector<ActivationPattern> patterns_;
  auditing::Fingerprinter fingerprints_;
  std::int64_t total_;
  Feed feed_;
  SampleRange range_;
  std::vector<std::unique_ptr<ChannelWatch>> watches_;
  std::vector<std::int64_t> not_finite_;  ///< samples run but not yet collected
  std::chrono::steady_clock::time_point saved_;
  StatisticsData data_;
};

void check(const AuditOptions& options) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::InvalidArgument, what);
  };
  require(options.confidence > 0.0 && options.confidence < 1.0, "the confidence must lie between 0 and 1");
  require(options.rare_below >= 0.0 && options.rare_below <= 1.0, "the limit of 'rare' must lie in [0, 1]");
  require(options.dormant_tau >= 0.0, "the limit of 'dormant' must not be negative");
  require(options.samples >= 0, "the number of samples must not be negative");
  require(options.explain_samples >= 0, "the number of samples of an explanation must not be negative");
  require(options.gradient_samples >= 0, "the number of samples to back-propagate must not be negative");
  require(options.batch >= 0, "the batch size must not be negative");
  require(options.time_limit >= 0.0, "the time limit must not be negative");
  require(!options.domain.has_value() || !options.domain_from_data,
          "the domain is either given or the range of the data");
}

}  // namespace

AuditStatistics gather_statistics(const Model& model, Samples& samples, const AuditOptions& options,
                                  const GatherOptions& gathering) {
  check(options);
  const Shard& shard = gathering.shard;
  if (shard.count < 1 || shard.index < 1 || shard.index > shard.count) {
    throw Error(ErrorCode::InvalidArgument, fmt::format("there is no shard {}/{}", shard.index, shard.count),
                {.cure = "shards count from 1: 1/10 to 10/10"});
  }
  return Gatherer(model, samples, options, gathering).run();
}

AuditReport audit(const Model& model, Samples& samples, const AuditOptions& options) {
  AuditReport report = gather_statistics(model, samples, options).report();
  auditing::prove(model, samples, options, report);
  if (options.explain && !options.counts_only) {
    explain(model, samples, report, {.samples = options.explain_samples, .threads = options.threads});
  }
  if (!options.labels.empty()) {
    back_propagate(
        model, samples, report,
        {.labels = options.labels, .samples = options.gradient_samples, .threads = options.threads});
  }
  return report;
}

}  // namespace ember
