#include <ember/audit.hpp>

#include <algorithm>
#include <array>
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

#include "audit/channel_axis.hpp"
#include "audit/channel_watch.hpp"
#include "audit/feed.hpp"
#include "audit/fingerprint.hpp"
#include "audit/judge.hpp"
#include "core/sha256.hpp"
#include "ops/activation_pattern.hpp"
#include "runtime/session_impl.hpp"

namespace ember {

namespace {

using auditing::ChannelWatch;
using auditing::Feed;
using ops::ActivationPattern;

std::unique_ptr<ChannelWatch> watch_of(const graph::Graph& graph, const ActivationPattern& pattern) {
  // The slopes of a PRelu say which axis the channels are on.
  const bool sloped =
      pattern.function.kind == kernels::ActivationKind::PRelu && pattern.function.slope_count > 1;
  return std::make_unique<ChannelWatch>(pattern.function,
                                        !sloped && auditing::channels_last(graph, pattern.input));
}

LayerReport layer_of(const graph::Graph& graph, const ActivationPattern& pattern, const ChannelWatch& watch) {
  LayerReport layer;
  layer.node = graph.label(pattern.nodes.back());
  layer.op = ops::to_string(pattern.function.kind);
  layer.value = graph.value(pattern.output).name;
  layer.channel_axis = watch.channel_axis();
  if (pattern.nodes.size() > 1) {
    for (const graph::NodeId id : pattern.nodes) layer.pattern.push_back(graph.label(id));
  }
  for (std::int64_t c = 0; c < watch.channels(); ++c) {
    layer.channels.push_back({.index = c, .statistics = watch.statistics(c)});
  }
  return layer;
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

class Auditor {
 public:
  Auditor(const Model& model, Samples& samples, const AuditOptions& options)
      : model_(model),
        samples_(samples),
        options_(options),
        graph_(runtime::optimized_graph(model)),
        patterns_(ops::find_activations(*graph_)),
        total_(options.samples > 0 ? std::min(options.samples, samples.count()) : samples.count()),
        feed_(model, options.batch, total_) {
    if (total_ > 0) return;
    throw Error(ErrorCode::InvalidData, "the data holds no sample", {.tensor = samples.description()});
  }

  AuditReport run() {
    pass();
    if (batch_missing() && feed_.open_batch()) {
      // Some value mixes the batch with another axis; one sample per run keeps samples apart.
      feed_.set_batch(1);
      pass();
    }
    note_limits();
    judge_all();
    report_.model = model_.name();
    report_.model_hash = sha256_hex(model_.serialize());
    report_.data = samples_.description();
    report_.data_hash = samples_.content_hash();
    report_.samples = total_;
    report_.confidence = options_.confidence;
    return std::move(report_);
  }

 private:
  [[nodiscard]] bool batch_missing() const {
    return std::ranges::any_of(watches_, [](const auto& watch) { return watch->batch_missing(); });
  }

  /// Runs all samples once with fresh watches; stops after the first batch when that shows that batches
  /// must be given up.
  void pass() {
    watches_.clear();
    std::vector<runtime::ProbePoint> probes;
    for (const ActivationPattern& pattern : patterns_) {
      watches_.push_back(watch_of(*graph_, pattern));
      probes.push_back({graph_->value(pattern.input).name, watches_.back().get()});
    }
    SessionOptions session_options;
    session_options.threads = options_.threads;
    session_options.input_shapes = {{feed_.input(), feed_.shape()}};
    Session session = runtime::make_session(model_, std::move(session_options), std::move(probes));
    report_.isa = session.isa();
    report_.samples_not_finite = 0;
    for (std::int64_t done = 0; done < total_;) {
      const std::int64_t n = std::min(feed_.batch(), total_ - done);
      report_.samples_not_finite += feed_.load(samples_, done, n, session);
      for (const auto& watch : watches_) watch->expect(feed_.batch(), n);
      session.run();
      done += n;
      if (batch_missing() && feed_.open_batch()) return;
      if (options_.progress) options_.progress(done, total_);
    }
  }

  void note_limits() {
    std::vector<std::string>& notes = report_.notes;
    notes = unwatched(*graph_, patterns_);
    if (patterns_.empty()) notes.emplace_back("the model has no activation that can be watched");
    for (std::size_t i = 0; i < watches_.size(); ++i) {
      if (watches_[i]->unwatchable()) {
        notes.push_back(fmt::format("{}: not watched, for it is not of floats", label(i)));
      }
      if (!watches_[i]->batch_missing()) continue;
      notes.push_back(fmt::format("{}: axis 0 is not the batch of {}; each run counts as one sample there",
                                  label(i), feed_.batch()));
    }
    if (report_.samples_not_finite > 0) {
      notes.push_back(
          fmt::format("{} of {} samples hold a NaN or an infinity; they were run, and positions that "
                      "are not finite show nothing",
                      report_.samples_not_finite, total_));
    }
  }

  [[nodiscard]] std::string label(std::size_t pattern) const {
    return graph_->label(patterns_[pattern].nodes.back());
  }

  void judge_all() {
    const auditing::Fingerprinter fingerprints(*graph_, patterns_);
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      LayerReport layer = layer_of(*graph_, patterns_[i], *watches_[i]);
      layer.fingerprint = fingerprints.layer(i);
      const std::vector<std::string> names = fingerprints.channels(i, watches_[i]->channels());
      for (std::size_t c = 0; c < names.size(); ++c) layer.channels[c].fingerprint = names[c];
      report_.layer_reports.push_back(std::move(layer));
    }
    const auditing::Standards standards{.alpha = 1.0 - options_.confidence,
                                        .channels = report_.channels(),
                                        .rare_below = options_.rare_below,
                                        .dormant_tau = options_.dormant_tau};
    std::int64_t unseen = 0;
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      LayerReport& layer = report_.layer_reports[i];
      auditing::judge(layer, patterns_[i].function, graph_->is_output(patterns_[i].output), standards);
      unseen += std::ranges::count_if(layer.channels, [](const ChannelReport& channel) {
        return channel.statistics.not_finite >= channel.statistics.samples;
      });
    }
    if (unseen > 0) {
      report_.notes.push_back(fmt::format("{} channels showed too few finite values to be judged", unseen));
    }
  }

  const Model& model_;
  Samples& samples_;
  const AuditOptions& options_;
  std::shared_ptr<const graph::Graph> graph_;
  std::vector<ActivationPattern> patterns_;
  std::int64_t total_;
  Feed feed_;
  std::vector<std::unique_ptr<ChannelWatch>> watches_;
  AuditReport report_;
};

void check(const AuditOptions& options) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::InvalidArgument, what);
  };
  require(options.confidence > 0.0 && options.confidence < 1.0, "the confidence must lie between 0 and 1");
  require(options.rare_below >= 0.0 && options.rare_below <= 1.0, "the limit of 'rare' must lie in [0, 1]");
  require(options.dormant_tau >= 0.0, "the limit of 'dormant' must not be negative");
  require(options.samples >= 0, "the number of samples must not be negative");
  require(options.batch >= 0, "the batch size must not be negative");
}

}  // namespace

AuditReport audit(const Model& model, Samples& samples, const AuditOptions& options) {
  check(options);
  return Auditor(model, samples, options).run();
}

}  // namespace ember
