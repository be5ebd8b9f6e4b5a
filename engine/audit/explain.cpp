#include <ember/explain.hpp>

#include <algorithm>
#include <cmath>
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
#include "audit/findings.hpp"
#include "audit/producer.hpp"
#include "audit/raise_effect.hpp"
#include "audit/trial.hpp"
#include "audit/trial_runs.hpp"
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

/// Slopes are by channel, which a twin has others of; what fires does not depend on them.
kernels::Activation without_slopes(kernels::Activation activation) {
  if (activation.kind != kernels::ActivationKind::PRelu) return activation;
  return {.kind = kernels::ActivationKind::Relu};
}

class Explainer {
 public:
  Explainer(const Model& model, Samples& samples, AuditReport& report, const ExplainOptions& options)
      : model_(model),
        report_(report),
        graph_(runtime::optimized_graph(model, {.disabled_passes = {"batchnorm_folding"}})),
        runs_(model, samples, report.samples, options),
        facts_(plan::specialize(*graph_, plan::resolve_input_shapes(
                                             *graph_, {{runs_.feed().input(), runs_.feed().shape()}}))
                   .facts) {}

  void run() {
    gather_cases();
    if (!anything_wrong_) return;
    look();
    change();
    conclude();
  }

 private:
  /// What is asked about one channel, and in how many samples each change makes it live.
  struct Question {
    Candidate first;
    std::optional<Candidate> stale;
    std::optional<std::int64_t> first_alive, stale_alive, starved_alive;  ///< empty: to be found with a twin
    bool asks_stale = false, asks_starved = false;
    std::optional<Linear> normalisation;  ///< see normalisation_of()
  };
  using Answer = std::optional<std::int64_t> Question::*;
  struct Case {
    LayerCase of;
    std::unique_ptr<CauseRules> rules;
    kernels::Activation activation;
    bool first_depends_on_data = false;
    std::optional<Upstreams> upstreams;
    std::vector<TwinGraph::Addition> additions;
    std::optional<std::vector<Raise>> raises;  ///< what the additions add before the activation
    std::vector<Question> questions;           ///< one per channel to explain
    int plain = -1;                            ///< the watch of the layer as it is
    int normalised = -1;  ///< of what BatchNormalization reads, where it cannot be told from the above
    std::optional<Producer> normalised_producer;
    std::vector<std::int64_t> normalised_channels;
  };
  /// A twin that answers some questions of a case.
  struct Twin {
    Case& of;
    Answer answer;
    std::vector<std::size_t> questions;
    std::vector<std::int64_t> channels;  ///< of the twin
    int watched;
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

  [[nodiscard]] const ChannelReport& channel(const Case& one, std::size_t i) const {
    return layer(one).channels[static_cast<std::size_t>(one.of.channels[i])];
  }

  static bool shown_by_itself(const Candidate& candidate) {
    return candidate.cause == Cause::Decayed || candidate.cause == Cause::BatchNormCollapsed;
  }

  /// First run: what the layers do as they are, and the changes that are known to need a twin.
  void look() {
    TwinGraph twins(network_);
    for (Case& one : cases_) prepare(one, twins);
    std::vector<std::string> outputs;
    for (const ValueId output : graph_->outputs) {
      twins.keep(output);
      outputs.push_back(graph_->value(output).name);
    }
    runs_.compare(std::move(outputs));
    if (twins_.empty() && !twinned_) runs_.run(model_);
    else run(std::move(twins));
    runs_.compare({});
  }

  void prepare(Case& one, TwinGraph& twins) {
    const Producer& producer = one.of.producer;
    one.activation = without_slopes(one.of.pattern.function);
    one.plain = runs_.watch_activation(graph_->value(one.of.pattern.output).name, one.activation,
                                       one.of.last_axis, one.of.channels);
    one.of.input_never_negative = never_negative(*graph_, producer.input);
    one.first_depends_on_data = !one.of.input_never_negative && graph_->is_input(shapeless(producer.input));
    if (one.first_depends_on_data) runs_.note_least_input();
    one.rules = std::make_unique<CauseRules>(*graph_, layer(one), one.of);
    one.upstreams = find_upstreams(*graph_, producer, activations_, report_);
    if (one.upstreams && !one.upstreams->layers.empty()) {
      one.additions = raised(*one.upstreams, network_, report_);
    }
    if (!one.additions.empty()) {
      std::vector<graph::NodeId> nodes = one.upstreams->between;
      nodes.insert(nodes.end(), producer.nodes.begin(), producer.nodes.end());
      one.raises = effect_of(network_, nodes, one.additions, one.of.pattern.input);
    }
    std::vector<std::size_t> first;
    std::vector<std::size_t> starved;
    for (std::size_t i = 0; i < one.of.channels.size(); ++i) {
      Question& question = one.questions.emplace_back();
      question.first = one.rules->first(channel(one, i));
      const bool by_itself = shown_by_itself(question.first);
      if (question.first.cause != Cause::None && (by_itself || !one.first_depends_on_data) &&
          !change_of(one, i, question.first)) {
        first.push_back(i);
      }
      if (by_itself) continue;
      question.asks_stale = producer.batch_norm != kNoNode;
      if (question.asks_stale) {
        question.normalisation = normalisation_of(*graph_, producer, channel(one, i));
        if (!question.normalisation) one.normalised_channels.push_back(one.of.channels[i]);
      }
      question.asks_starved = !one.additions.empty();
      if (question.asks_starved && !raise_tells(one, i)) starved.push_back(i);
    }
    add_changed(twins, one, std::move(first), &Question::first_alive);
    add_starved(twins, one, std::move(starved));
    add_normalised(twins, one);
  }

  /// What a candidate does to a channel's values, where its extremes are enough to tell what comes of it.
  [[nodiscard]] std::optional<ChangedValues> change_of(const Case& one, std::size_t i,
                                                       const Candidate& candidate) const {
    if (!told_by_extremes(one.activation, pinned(channel(one, i)))) return std::nullopt;
    return changed_values(*graph_, one.of.producer, channel(one, i), *one.rules, candidate);
  }

  /// Whether the raised means are likely to be judged without a twin: the same is added at all positions, or
  /// differs at borders only for channels that mostly have an input of their own, which is dead.
  [[nodiscard]] bool raise_tells(const Case& one, std::size_t i) const {
    if (!one.raises || !told_by_extremes(one.activation, pinned(channel(one, i)))) return false;
    return (*one.raises)[static_cast<std::size_t>(one.of.channels[i])].even() || one.of.producer.groups > 1;
  }

  void add_changed(TwinGraph& twins, Case& one, std::vector<std::size_t> questions, Answer answer) {
    if (questions.empty()) return;
    TwinParameters parameters(network_, one.of.producer, channels_of(one, questions));
    for (const std::size_t i : questions) {
      const Question& question = one.questions[i];
      const Candidate& candidate = answer == &Question::stale_alive ? *question.stale : question.first;
      one.rules->apply(candidate, one.of.channels[i], parameters);
    }
    std::vector<std::int64_t> channels = parameters.channels();
    await(twins, one, std::move(questions), answer, std::move(channels),
          twins.add(one.of.producer, std::move(parameters)));
  }

  void add_starved(TwinGraph& twins, Case& one, std::vector<std::size_t> questions) {
    if (questions.empty()) return;
    TwinParameters parameters(network_, one.of.producer, channels_of(one, questions));
    std::vector<std::int64_t> channels = parameters.channels();
    await(twins, one, std::move(questions), &Question::starved_alive, std::move(channels),
          twins.add(one.of.producer, std::move(parameters), one.upstreams->between, one.additions));
  }

  void add_normalised(TwinGraph& twins, Case& one) {
    if (one.normalised_channels.empty()) return;
    one.normalised_producer = one.of.producer.before_batch_norm();
    TwinParameters parameters(network_, *one.normalised_producer, one.normalised_channels);
    std::vector<std::int64_t> positions;
    for (const std::int64_t c : one.normalised_channels) {
      positions.push_back(static_cast<std::int64_t>(parameters.position(c)));
    }
    one.normalised_channels = parameters.channels();
    const ValueId twin = twins.add(*one.normalised_producer, std::move(parameters));
    twins.keep(twin);
    one.normalised = runs_.watch_output(twins.graph().value(twin).name,
                                        {.kind = kernels::ActivationKind::Relu}, false, std::move(positions));
    twinned_ = true;
  }

  void await(TwinGraph& twins, Case& one, std::vector<std::size_t> questions, Answer answer,
             std::vector<std::int64_t> channels, ValueId twin) {
    twins.keep(twin);
    const int watched = runs_.watch_output(twins.graph().value(twin).name, one.activation, one.of.last_axis);
    twins_.push_back({one, answer, std::move(questions), std::move(channels), watched});
  }

  static std::vector<std::int64_t> channels_of(const Case& one, const std::vector<std::size_t>& questions) {
    std::vector<std::int64_t> channels;
    for (const std::size_t i : questions) channels.push_back(one.of.channels[i]);
    return channels;
  }

  /// Runs a finished graph, and takes the answers of its twins.
  void run(TwinGraph twins) {
    std::optional<graph::Graph> network = twins.finish_beside(*runtime::optimized_graph(model_));
    if (!network) network = std::move(twins).finish();
    const Model changed(std::make_shared<const graph::Graph>(std::move(*network)));
    changed.compile_cache()->share_packs(*model_.compile_cache());
    runs_.run(changed);
    for (const Twin& twin : twins_) {
      for (const std::size_t i : twin.questions) {
        const auto at = std::ranges::lower_bound(twin.channels, twin.of.of.channels[i]);
        twin.of.questions[i].*twin.answer =
            samples_alive(runs_.seen(twin.watched, at - twin.channels.begin()), pinned(channel(twin.of, i)));
      }
    }
    twins_.clear();
  }

  /// What follows from the first run; a second one for what does not.
  void change() {
    TwinGraph twins(network_);
    for (Case& one : cases_) {
      one.of.input_never_negative =
          one.of.input_never_negative || (one.first_depends_on_data && runs_.least_input() >= 0.0F);
      std::vector<std::size_t> first;
      std::vector<std::size_t> stale;
      std::vector<std::size_t> starved;
      for (std::size_t i = 0; i < one.of.channels.size(); ++i) {
        Question& question = one.questions[i];
        if (one.first_depends_on_data) question.first = one.rules->first(channel(one, i));
        if (question.asks_stale) question.stale = one.rules->stale(channel(one, i), normalised(one, i));
        if (question.first.cause != Cause::None && !question.first_alive) {
          question.first_alive = alive_with(one, i, change_of(one, i, question.first));
          if (!question.first_alive) first.push_back(i);
        }
        if (question.stale) {
          question.stale_alive = alive_when_renewed(one, i);
          if (!question.stale_alive) stale.push_back(i);
        }
        if (question.asks_starved && !question.starved_alive) {
          const Raise& raise = (*one.raises)[static_cast<std::size_t>(one.of.channels[i])];
          question.starved_alive = alive_with(one, i, ChangedValues{1.0, raise.low, raise.high});
          if (!question.starved_alive) starved.push_back(i);
        }
      }
      add_changed(twins, one, std::move(first), &Question::first_alive);
      add_changed(twins, one, std::move(stale), &Question::stale_alive);
      add_starved(twins, one, std::move(starved));
    }
    if (!twins_.empty()) run(std::move(twins));
  }

  [[nodiscard]] std::optional<std::int64_t> alive_with(const Case& one, std::size_t i,
                                                       const std::optional<ChangedValues>& change) const {
    const std::int64_t c = one.of.channels[i];
    // Infinities are in no range.
    if (!change || runs_.seen(one.plain, c).not_finite > 0) return std::nullopt;
    return samples_alive(runs_.ranges(one.plain, c), *change, one.activation, pinned(channel(one, i)));
  }

  /// With the statistics of BatchNormalization recomputed.
  [[nodiscard]] std::optional<std::int64_t> alive_when_renewed(const Case& one, std::size_t i) const {
    const Candidate& stale = *one.questions[i].stale;
    if (one.questions[i].normalisation) return alive_with(one, i, change_of(one, i, stale));
    const bool stuck = pinned(channel(one, i));
    const std::int64_t at = normalised_position(one, i);
    const auto change =
        changed_normalisation(*graph_, one.of.producer, one.of.channels[i], *one.rules, stale);
    if (!change || !told_by_extremes(one.activation, stuck) || runs_.seen(one.normalised, at).not_finite > 0)
      return std::nullopt;
    return samples_alive(runs_.ranges(one.normalised, at), *change, one.activation, stuck);
  }

  static std::int64_t normalised_position(const Case& one, std::size_t i) {
    return std::ranges::lower_bound(one.normalised_channels, one.of.channels[i]) -
           one.normalised_channels.begin();
  }

  [[nodiscard]] Moments normalised(const Case& one, std::size_t i) const {
    const std::optional<Linear>& normalisation = one.questions[i].normalisation;
    if (normalisation) return moments_in_front_of(*normalisation, runs_.seen(one.plain, one.of.channels[i]));
    return moments_before(runs_.seen(one.normalised, normalised_position(one, i)));
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

  void conclude() {
    for (const Case& one : cases_) {
      for (std::size_t i = 0; i < one.of.channels.size(); ++i) {
        report_.layer_reports[one.of.layer]
            .channels[static_cast<std::size_t>(one.of.channels[i])]
            .explanation = explanation(one, i);
      }
    }
    report_.explain_samples = runs_.samples();
    if (runs_.constant_outputs()) {
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
    const Question& question = one.questions[i];
    const auto measure = [&](Counterfactual& counterfactual, const std::optional<std::int64_t>& alive) {
      counterfactual.samples = runs_.samples();
      counterfactual.samples_fired = alive.value_or(0);
      counterfactual.samples_fired_before = samples_alive(runs_.seen(one.plain, c), pinned(channel(one, i)));
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
    const bool shown = first.cause != Cause::None && measure(first.counterfactual, question.first_alive);
    if (shown_by_itself(question.first)) return first;
    if (question.stale) {
      Explanation stale = made(*question.stale);
      if (measure(stale.counterfactual, question.stale_alive)) return stale;
    }
    if (question.asks_starved) {
      Explanation starved{.cause = Cause::Starved, .remedy = Remedy::HealUpstream};
      starved.counterfactual.edit = Edit::UpstreamMeans;
      const bool fires = measure(starved.counterfactual, question.starved_alive);
      if (fires || one.upstreams->all_dead) {
        starved.starved_by = starving(*one.upstreams, network_, one.of.producer, report_, c);
        if (!starved.starved_by.empty() || one.upstreams->all_dead) return starved;
      }
    }
    // A channel that fires now and then is explained only by what makes it fire more.
    if (!never_fired(channel(one, i)) && !shown) return {};
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

  const Model& model_;
  AuditReport& report_;
  std::shared_ptr<const graph::Graph> graph_;  ///< as stated, BatchNormalization not folded
  TrialRuns runs_;
  std::vector<plan::Fact> facts_;
  ShapedNetwork network_{*graph_, facts_};
  std::vector<ops::ActivationPattern> patterns_;
  std::map<ValueId, std::size_t> activations_;
  std::map<std::string, std::vector<std::size_t>> unexplained_;
  bool anything_wrong_ = false;
  std::vector<Case> cases_;
  std::vector<Twin> twins_;  ///< whose answers are awaited
  bool twinned_ = false;     ///< the first network has twins of what BatchNormalization reads
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
