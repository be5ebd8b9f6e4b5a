#include <ember/explain.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "audit/cause_rules.hpp"
#include "audit/channel_axis.hpp"
#include "audit/channel_watch.hpp"
#include "audit/feed.hpp"
#include "audit/findings.hpp"
#include "audit/producer.hpp"
#include "audit/twin_graph.hpp"
#include "audit/upstream.hpp"
#include "ops/activation_pattern.hpp"
#include "plan/specialize.hpp"
#include "runtime/session_impl.hpp"

namespace ember {

namespace {

using namespace auditing;
using graph::kNoNode;
using graph::ValueId;

/// A counterfactual shows its cause when this share of the samples feels it.
constexpr double kShown = 0.01;

/// A value to be watched, and what was seen of its channels.
struct Watched {
  std::string value;
  kernels::Activation activation;
  bool last_axis = false;
  std::unique_ptr<ChannelWatch> watch;

  [[nodiscard]] std::int64_t channels() const { return watch->channels(); }
  [[nodiscard]] ChannelStatistics statistics(std::size_t channel) const {
    return watch->totals().statistics(static_cast<std::int64_t>(channel));
  }
};

/// Slopes are by channel, which a twin has others of; what fires does not depend on them.
kernels::Activation without_slopes(kernels::Activation activation) {
  if (activation.kind != kernels::ActivationKind::PRelu) return activation;
  return {.kind = kernels::ActivationKind::Relu};
}

class Explainer {
 public:
  Explainer(const Model& model, Samples& samples, AuditReport& report, const ExplainOptions& options)
      : samples_(samples),
        report_(report),
        options_(options),
        graph_(runtime::optimized_graph(model, {.disabled_passes = {"batchnorm_folding"}})),
        feed_(model, 0, samples.count()) {
    feed_.set_batch(feed_.open_batch() ? std::min<std::int64_t>(feed_.batch(), 16) : feed_.batch());
    facts_ = plan::specialize(*graph_, plan::resolve_input_shapes(*graph_, {{feed_.input(), feed_.shape()}}))
                 .facts;
  }

  void run() {
    gather_cases();
    if (!anything_wrong_) return;
    look();
    change();
    conclude();
  }

 private:
  /// What is asked about one channel, besides what its own numbers show.
  struct Question {
    Candidate first;
    std::optional<Candidate> stale;
    std::size_t starved_at = 0;  ///< positions in the twins' channels
    std::size_t first_at = 0, stale_at = 0;
  };
  struct Case {
    LayerCase of;
    std::unique_ptr<CauseRules> rules;
    std::optional<Upstreams> upstreams;
    std::vector<Question> questions;  ///< one per channel to explain
    std::vector<std::int64_t> starved_channels, first_channels, stale_channels;  ///< of the twins
    // Indices into watched_, -1: none.
    int plain = -1, normalised_input = -1, starved = -1, first = -1, stale = -1;
  };

  const LayerReport& layer(const Case& one) const { return report_.layers()[one.of.layer]; }

  void gather_cases() {
    std::map<std::string, std::size_t> by_value;
    for (std::size_t i = 0; i < report_.layers().size(); ++i) by_value[report_.layers()[i].value] = i;
    std::set<std::size_t> known;
    for (ops::ActivationPattern& pattern : ops::find_activations(*graph_)) {
      const auto found = by_value.find(graph_->value(pattern.output).name);
      if (found == by_value.end()) continue;
      known.insert(found->second);
      activations_[pattern.output] = found->second;
      patterns_.push_back(std::move(pattern));
    }
    for (std::size_t i = 0; i < report_.layers().size(); ++i) {
      if (std::ranges::any_of(report_.layers()[i].channels, asks_why)) anything_wrong_ = true;
      else continue;
      if (!known.contains(i)) unexplained_["it was not found in the network as it stands"].push_back(i);
    }
    for (const ops::ActivationPattern& pattern : patterns_) add_case(pattern);
  }

  void add_case(const ops::ActivationPattern& pattern) {
    const std::size_t index = activations_.at(pattern.output);
    Case one;
    one.of.layer = index;
    for (const ChannelReport& channel : layer(one).channels) {
      if (asks_why(channel)) one.of.channels.push_back(channel.index);
    }
    if (one.of.channels.empty()) return;
    std::string why;
    std::optional<Producer> producer = find_producer(*graph_, pattern.input, why);
    if (producer && producer->channels != static_cast<std::int64_t>(layer(one).channels.size())) {
      producer.reset();
      why = "its channels are not those of the weights before it";
    }
    if (!producer) {
      unexplained_[why].push_back(index);
      return;
    }
    one.of.pattern = pattern;
    one.of.last_axis = channels_last(*graph_, pattern.input);
    one.of.producer = std::move(*producer);
    cases_.push_back(std::move(one));
  }

  int watch(const graph::Graph& graph, ValueId value, const kernels::Activation& activation, bool last_axis) {
    watched_.push_back({graph.value(value).name, activation, last_axis, nullptr});
    return static_cast<int>(watched_.size()) - 1;
  }

  /// First pass: what the layers do as they are, and with the dead channels before them alive.
  void look() {
    const ShapedNetwork network{*graph_, facts_};
    TwinGraph twins(network);
    for (const ValueId output : graph_->outputs) twins.keep(output);
    const auto keep_watched = [&](ValueId value, const kernels::Activation& activation, bool last_axis) {
      twins.keep(value);
      return watch(twins.graph(), value, activation, last_axis);
    };
    for (Case& one : cases_) {
      const kernels::Activation activation = without_slopes(one.of.pattern.function);
      one.plain = keep_watched(one.of.pattern.input, activation, one.of.last_axis);
      const Producer& producer = one.of.producer;
      if (producer.batch_norm != kNoNode) {
        one.normalised_input = keep_watched(graph_->node(producer.batch_norm).inputs[0],
                                            {.kind = kernels::ActivationKind::Relu}, false);
      }
      one.upstreams = find_upstreams(*graph_, producer, activations_, report_);
      if (!one.upstreams || one.upstreams->layers.empty()) continue;
      std::vector<TwinGraph::Addition> additions = raised(*one.upstreams, network, report_);
      if (additions.empty()) continue;
      TwinParameters parameters(network, producer, one.of.channels);
      one.starved_channels = parameters.channels();
      const ValueId twin =
          twins.add(producer, std::move(parameters), one.upstreams->between, std::move(additions));
      one.starved = keep_watched(twin, activation, one.of.last_axis);
    }
    run_twins(std::move(twins), true);
  }

  /// Second pass: every channel with its own change.
  void change() {
    const ShapedNetwork network{*graph_, facts_};
    TwinGraph twins(network);
    const std::size_t before = watched_.size();
    for (Case& one : cases_) {
      one.of.input_never_negative =
          never_negative(*graph_, one.of.producer.input) ||
          (graph_->is_input(shapeless(one.of.producer.input)) && least_input_ >= 0.0F);
      one.rules = std::make_unique<CauseRules>(*graph_, layer(one), one.of);
      std::vector<std::int64_t> changed;
      std::vector<std::int64_t> stale;
      for (const std::int64_t c : one.of.channels) {
        const ChannelReport& channel = layer(one).channels[static_cast<std::size_t>(c)];
        Question question{.first = one.rules->first(channel)};
        const bool by_itself =
            question.first.cause == Cause::Decayed || question.first.cause == Cause::BatchNormCollapsed;
        if (!by_itself && one.normalised_input >= 0) {
          question.stale = one.rules->stale(channel, seen(one.normalised_input, c));
        }
        if (question.first.cause != Cause::None) changed.push_back(c);
        if (question.stale) stale.push_back(c);
        one.questions.push_back(std::move(question));
      }
      one.first = add_changed(twins, network, one, changed, one.first_channels,
                              [](const Question& question) { return &question.first; });
      one.stale = add_changed(twins, network, one, stale, one.stale_channels,
                              [](const Question& question) { return &*question.stale; });
    }
    if (watched_.size() > before) run_twins(std::move(twins), false, before);
  }

  template <class Choose>
  int add_changed(TwinGraph& twins, const ShapedNetwork& network, const Case& one,
                  const std::vector<std::int64_t>& channels, std::vector<std::int64_t>& twin_channels,
                  Choose&& choose) {
    if (channels.empty()) return -1;
    TwinParameters parameters(network, one.of.producer, channels);
    for (std::size_t i = 0; i < one.of.channels.size(); ++i) {
      const std::int64_t c = one.of.channels[i];
      if (std::ranges::binary_search(channels, c)) one.rules->apply(*choose(one.questions[i]), c, parameters);
    }
    twin_channels = parameters.channels();
    const ValueId twin = twins.add(one.of.producer, std::move(parameters));
    twins.keep(twin);
    return watch(twins.graph(), twin, without_slopes(one.of.pattern.function), one.of.last_axis);
  }

  /// Through reshapes: where a value comes from when nothing has been computed yet.
  [[nodiscard]] ValueId shapeless(ValueId value) const {
    while (graph_->value(value).producer != kNoNode) {
      const graph::Node& node = graph_->node(graph_->value(value).producer);
      if (node.op != "Flatten" && node.op != "Reshape" && node.op != "Transpose" && node.op != "Identity")
        break;
      value = node.inputs[0];
    }
    return value;
  }

  [[nodiscard]] ChannelStatistics seen(int watched, std::int64_t channel) const {
    return watched_[static_cast<std::size_t>(watched)].statistics(static_cast<std::size_t>(channel));
  }

  /// How many samples are affordable, spread evenly over those of the report.
  void choose_samples(double flops_per_sample) {
    constexpr double kAffordable = 1e11;
    constexpr std::int64_t kLeast = 16;
    constexpr std::int64_t kMost = 256;
    std::int64_t count = options_.samples;
    if (count <= 0) {
      const double affordable = kAffordable / std::max(1.0, flops_per_sample);
      count = affordable >= static_cast<double>(kMost)
                  ? kMost
                  : std::max(kLeast, static_cast<std::int64_t>(affordable));
    }
    const std::int64_t total = std::max<std::int64_t>(1, std::min(report_.samples, samples_.count()));
    count = std::min(count, total);
    for (std::int64_t i = 0; i < count; ++i) {
      // i * total / count without overflow
      chosen_.push_back(i * (total / count) + i * (total % count) / count);
    }
  }

  /// Runs the chosen samples through a finished graph and fills the watches from `first` on.
  void run_twins(TwinGraph twins, bool with_outputs, std::size_t first = 0) {
    const Model changed(std::make_shared<const graph::Graph>(std::move(twins).finish()));
    while (!pass(changed, with_outputs, first)) feed_.set_batch(1);
  }

  /// False: values mix the batch with another axis, and samples have to come one by one.
  bool pass(const Model& changed, bool with_outputs, std::size_t first) {
    std::vector<runtime::ProbePoint> probes;
    for (std::size_t i = first; i < watched_.size(); ++i) {
      Watched& each = watched_[i];
      each.watch = std::make_unique<ChannelWatch>(each.activation, each.last_axis, samples_.count() + 1,
                                                  samples_.count());
      probes.push_back({each.value, each.watch.get(), std::nullopt});
    }
    SessionOptions options;
    options.threads = options_.threads;
    options.input_shapes = {{feed_.input(), feed_.shape()}};
    for (const std::string& name : pass_names()) options.disabled_passes.insert(name);
    Session session = runtime::make_session(changed, std::move(options), std::move(probes));
    if (chosen_.empty()) choose_samples(session.flops() / static_cast<double>(feed_.batch()));
    if (with_outputs) {
      outputs_.clear();
      constant_outputs_ = true;
    }
    const auto all = static_cast<std::int64_t>(chosen_.size());
    for (std::int64_t done = 0; done < all;) {
      const std::int64_t n = std::min(feed_.batch(), all - done);
      feed_.load(samples_,
                 std::span(chosen_).subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(n)),
                 session);
      note_input(session);
      // The last sample of the data ends the only segment.
      const std::int64_t from = done + n == all ? samples_.count() - n : done;
      for (std::size_t i = first; i < watched_.size(); ++i) watched_[i].watch->expect(feed_.batch(), n, from);
      session.run();
      if (with_outputs) compare_outputs(session);
      done += n;
      const bool mixed =
          std::ranges::any_of(watched_.begin() + static_cast<std::ptrdiff_t>(first), watched_.end(),
                              [](const Watched& each) { return each.watch->batch_missing(); });
      if (mixed && feed_.open_batch() && feed_.batch() > 1) return false;
    }
    return true;
  }

  void note_input(Session& session) {
    const TensorView input = session.input(feed_.input());
    if (input.type() != DataType::Float32) return;
    for (const float value : input.data<float>()) least_input_ = std::min(least_input_, value);
  }

  /// Whether every sample has made the same outputs so far.
  void compare_outputs(const Session& session) {
    const auto batch = static_cast<std::size_t>(feed_.batch());
    for (const ValueId id : graph_->outputs) {
      const std::string& name = graph_->value(id).name;
      const ConstTensorView output = session.output(name);
      const auto* bytes = static_cast<const char*>(output.raw());
      const bool batched = batch > 1 && output.shape().rank() > 0 && output.shape()[0] == feed_.batch();
      const std::size_t each = output.bytes() / (batched ? batch : 1);
      std::string& known = outputs_[name];
      if (known.empty()) known.assign(bytes, each);
      for (std::size_t at = 0; at < output.bytes(); at += std::max<std::size_t>(1, each)) {
        const bool same = known.size() == each && std::memcmp(known.data(), bytes + at, each) == 0;
        constant_outputs_ = constant_outputs_ && same;
      }
    }
  }

  void conclude() {
    for (const Case& one : cases_) {
      for (std::size_t i = 0; i < one.of.channels.size(); ++i) {
        report_.layer_reports[one.of.layer]
            .channels[static_cast<std::size_t>(one.of.channels[i])]
            .explanation = explanation(one, i);
      }
    }
    report_.explain_samples = static_cast<std::int64_t>(chosen_.size());
    // A single sample is always like itself.
    if (constant_outputs_ && chosen_.size() > 1) {
      report_.findings.insert(report_.findings.begin(), dead_network(report_, *graph_, activations_));
    }
    for (const auto& [why, layers] : unexplained_) {
      std::vector<std::string> names;
      for (const std::size_t each : layers) names.push_back(report_.layers()[each].node);
      constexpr std::size_t kShownNames = 5;
      const std::size_t more = names.size() > kShownNames ? names.size() - kShownNames : 0;
      names.resize(names.size() - more);
      report_.notes.push_back(fmt::format("no cause was sought for {}{}: {}", fmt::join(names, ", "),
                                          more > 0 ? fmt::format(" and {} more", more) : "", why));
    }
  }

  [[nodiscard]] Explanation explanation(const Case& one, std::size_t i) const {
    const std::int64_t c = one.of.channels[i];
    const ChannelReport& channel = layer(one).channels[static_cast<std::size_t>(c)];
    const Question& question = one.questions[i];
    const bool stuck = pinned(channel);
    const auto measure = [&](Counterfactual& counterfactual, int watched,
                             const std::vector<std::int64_t>& channels) {
      const auto position =
          static_cast<std::int64_t>(std::ranges::lower_bound(channels, c) - channels.begin());
      counterfactual.samples = static_cast<std::int64_t>(chosen_.size());
      counterfactual.samples_fired = samples_alive(seen(watched, position), stuck);
      counterfactual.samples_fired_before = samples_alive(seen(one.plain, c), stuck);
      const auto gained = counterfactual.samples_fired - counterfactual.samples_fired_before;
      return static_cast<double>(gained) >= kShown * static_cast<double>(counterfactual.samples) &&
             gained > 0;
    };
    const auto made = [&](const Candidate& candidate) {
      Explanation result{.cause = candidate.cause,
                         .remedy = remedy_of(candidate.cause),
                         .counterfactual = candidate.counterfactual,
                         .deviations = candidate.deviations};
      return result;
    };
    Explanation first = made(question.first);
    const bool shown = one.first >= 0 && first.cause != Cause::None &&
                       measure(first.counterfactual, one.first, one.first_channels);
    if (first.cause == Cause::Decayed || first.cause == Cause::BatchNormCollapsed) return first;
    if (question.stale) {
      Explanation stale = made(*question.stale);
      if (measure(stale.counterfactual, one.stale, one.stale_channels)) return stale;
    }
    if (one.starved >= 0) {
      Explanation starved{.cause = Cause::Starved, .remedy = Remedy::HealUpstream};
      starved.counterfactual.edit = Edit::UpstreamMeans;
      const bool fires = measure(starved.counterfactual, one.starved, one.starved_channels);
      if (fires || one.upstreams->all_dead) {
        starved.starved_by = starving(*one.upstreams, {*graph_, facts_}, one.of.producer, report_, c);
        if (!starved.starved_by.empty() || one.upstreams->all_dead) return starved;
      }
    }
    // A channel that fires now and then is explained only by what makes it fire more.
    if (!never_fired(channel) && !shown) return {};
    return first;
  }

  static Remedy remedy_of(Cause cause) {
    switch (cause) {
      case Cause::Decayed:
      case Cause::SignDead:
      case Cause::NegativeAlignment: return Remedy::Reinitialise;
      case Cause::BatchNormCollapsed: return Remedy::RestoreScale;
      case Cause::BatchNormStale: return Remedy::RecomputeStatistics;
      case Cause::Starved: return Remedy::HealUpstream;
      case Cause::BiasDominated: return Remedy::RaiseBias;
      case Cause::None: break;
    }
    return Remedy::None;
  }

  Samples& samples_;
  AuditReport& report_;
  const ExplainOptions& options_;
  std::shared_ptr<const graph::Graph> graph_;  ///< as stated, BatchNormalization not folded
  Feed feed_;
  std::vector<plan::Fact> facts_;
  std::vector<ops::ActivationPattern> patterns_;
  std::map<ValueId, std::size_t> activations_;
  std::map<std::string, std::vector<std::size_t>> unexplained_;
  bool anything_wrong_ = false;
  std::vector<Case> cases_;
  std::vector<Watched> watched_;
  std::vector<std::int64_t> chosen_;
  std::map<std::string, std::string> outputs_;
  bool constant_outputs_ = true;
  float least_input_ = 0.0F;
};

}  // namespace

void explain(const Model& model, Samples& samples, AuditReport& report, const ExplainOptions& options) {
  if (options.samples < 0)
    throw Error(ErrorCode::InvalidArgument, "the number of samples must not be negative");
  for (LayerReport& layer : report.layer_reports) {
    for (ChannelReport& channel : layer.channels) channel.explanation = {};
  }
  report.findings = layer_findings(report);
  report.explain_samples = 0;
  Explainer(model, samples, report, options).run();
}

}  // namespace ember
