#include <ember/revive.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "audit/firing.hpp"
#include "graph/graph.hpp"
#include "ops/activation_pattern.hpp"
#include "plan/specialize.hpp"
#include "surgery/activation_lookup.hpp"
#include "surgery/channel_readers.hpp"
#include "surgery/constant_editor.hpp"
#include "surgery/linear_producer.hpp"
#include "surgery/unit_draw.hpp"
#include "surgery/unit_edit.hpp"
#include "surgery/unit_response.hpp"

namespace ember {

namespace {

using graph::Graph;
using ops::ActivationPattern;
using surgery::ChannelReader;
using surgery::ChannelReaders;
using surgery::LinearProducer;

constexpr int kAttempts = 4;          ///< draws of a unit's weights before it is given up
constexpr double kShareSlack = 0.05;  ///< how far a unit's share may be from the wanted one

/// One layer with dead units.
struct Layer {
  std::size_t index = 0;  ///< in the order of the graph
  const ActivationPattern* activation = nullptr;
  const LayerReport* report = nullptr;  ///< of this audit
  LinearProducer producer;
  int axis = 1;
  struct Unit {
    std::int64_t channel = 0;
    double constant = 0;
    ChannelReaders readers;
  };
  std::vector<Unit> units;
};

class Reviver {
 public:
  Reviver(const Model& model, Samples& samples, const ReviveOptions& options)
      : samples_(samples),
        options_(options),
        graph_(model.graph()),
        patterns_(ops::find_activations(graph_)),
        lookup_(graph_, patterns_),
        editor_(graph_),
        specialized_(plan::specialize(graph_, plan::resolve_input_shapes(graph_, {}))),
        result_{.model = model, .units = {}, .refusals = {}, .touched = {}} {}

  ReviveResult run() {
    AuditOptions audit_options;
    audit_options.samples = options_.samples;
    audit_options.batch = options_.batch;
    audit_options.threads = options_.threads;
    const AuditReport seen = audit(result_.model, samples_, audit_options);
    const AuditReport& verdicts = options_.report != nullptr ? *options_.report : seen;
    const std::vector<ChannelChoice> choices = choose_channels(verdicts, options_.verdicts);
    std::vector<Layer> layers = layers_of(choices, seen);
    std::int64_t done = 1;
    const auto total = static_cast<std::int64_t>(layers.size()) + 2;
    for (Layer& layer : layers) {
      if (options_.progress) options_.progress(done++, total);
      if (options_.init == ReviveInit::Split) split(layer);
      else redraw(layer);
    }
    if (result_.units.empty()) return std::move(result_);
    graph_.sort();
    graph_.remove_dead();
    graph::verify(graph_);
    result_.touched.assign(touched_.begin(), touched_.end());
    result_.model = Model(std::make_shared<const Graph>(std::move(graph_)));
    count_shares(audit(result_.model, samples_, audit_options));
    if (options_.progress) options_.progress(total, total);
    return std::move(result_);
  }

 private:
  // ---- what can be revived

  std::vector<Layer> layers_of(const std::vector<ChannelChoice>& choices, const AuditReport& seen) {
    std::map<const ActivationPattern*, const LayerReport*> reports;
    for (const LayerReport& layer : seen.layers()) reports[lookup_.find(layer.node, layer.value)] = &layer;
    std::vector<Layer> layers;
    for (const ChannelChoice& choice : choices) {
      const ActivationPattern* activation = lookup_.find(choice.node, choice.value);
      if (activation == nullptr || !reports.contains(activation)) {
        throw Error(ErrorCode::InvalidArgument, fmt::format("the model has no activation '{}'", choice.node),
                    {.model = graph_.metadata.model_name,
                     .tensor = choice.value,
                     .cure = "give the audit report of this model"});
      }
      Layer layer{.index = static_cast<std::size_t>(activation - patterns_.data()),
                  .activation = activation,
                  .report = reports.at(activation)};
      if (prepare(layer, choice)) layers.push_back(std::move(layer));
    }
    // Upstream first: a unit's bias follows from what the units before it give in the end.
    std::ranges::sort(layers, {}, &Layer::index);
    return layers;
  }

  void refuse(const Layer& layer, std::int64_t channel, std::string reason) {
    result_.refusals.push_back({.node = layer.report->node,
                                .value = layer.report->value,
                                .channel = channel,
                                .reason = std::move(reason)});
  }

  bool prepare(Layer& layer, const ChannelChoice& choice) {
    auto found = surgery::find_producer(graph_, *layer.activation);
    std::string reason;
    if (auto* why = std::get_if<std::string>(&found)) reason = std::move(*why);
    else layer.producer = std::get<LinearProducer>(found);
    if (reason.empty() &&
        layer.producer.channels != static_cast<std::int64_t>(layer.report->channels.size())) {
      reason = "its channels are not those that its producer makes";
    }
    const auto& shape = specialized_.fact(layer.activation->output).shape;
    if (reason.empty() && !shape) reason = "its shape is known to a run only";
    if (!reason.empty()) {
      for (const std::int64_t channel : choice.channels) refuse(layer, channel, reason);
      return false;
    }
    layer.axis = layer.producer.channel_axis < 0 ? shape->rank() - 1 : layer.producer.channel_axis;
    for (const std::int64_t channel : choice.channels) prepare(layer, channel);
    return !layer.units.empty();
  }

  void prepare(Layer& layer, std::int64_t channel) {
    if (channel < 0 || channel >= layer.producer.channels) {
      throw Error(ErrorCode::InvalidArgument,
                  fmt::format("there is no channel {} among {}", channel, layer.producer.channels),
                  {.model = graph_.metadata.model_name, .node = layer.report->node});
    }
    const ChannelStatistics& statistics =
        layer.report->channels[static_cast<std::size_t>(channel)].statistics;
    if (!(statistics.out_min == statistics.out_max) || !std::isfinite(statistics.out_min) ||
        statistics.not_finite > 0) {
      return refuse(
          layer, channel,
          fmt::format("it is not constant on these data: it fires in {} of {} samples, its output "
                      "lies between {:g} and {:g}",
                      statistics.samples_fired, statistics.samples, statistics.out_min, statistics.out_max));
    }
    const auditing::Firing firing = auditing::firing_of(layer.activation->function, channel);
    if (firing.nature != auditing::Nature::Rectifier || !std::isfinite(firing.rule.fired_above)) {
      // A sigmoid that is constant starves; it comes back when what it reads does.
      if (statistics.out_min != 0) return;
      return refuse(layer, channel, fmt::format("a {} does not fire or fall silent", layer.report->op));
    }
    Layer::Unit unit{.channel = channel, .constant = statistics.out_min, .readers = {}};
    unit.readers = readers_of(layer, channel, unit.constant);
    if (!unit.readers.refusal.empty()) return refuse(layer, channel, unit.readers.refusal);
    layer.units.push_back(std::move(unit));
  }

  [[nodiscard]] ChannelReaders readers_of(const Layer& layer, std::int64_t channel, double constant) const {
    return surgery::find_readers(graph_, specialized_, layer.activation->output, layer.axis, channel,
                                 constant);
  }

  // ---- new weights

  [[nodiscard]] std::mt19937_64 generator(const Layer& layer, std::int64_t channel, int attempt) const {
    std::seed_seq sequence{static_cast<std::uint32_t>(options_.seed),
                           static_cast<std::uint32_t>(options_.seed >> 32U),
                           static_cast<std::uint32_t>(layer.index), static_cast<std::uint32_t>(channel),
                           static_cast<std::uint32_t>(attempt)};
    return std::mt19937_64(sequence);
  }

  struct Draw {
    Layer::Unit* unit;
    std::vector<float> weights;
  };

  void redraw(Layer& layer) {
    std::vector<Layer::Unit*> waiting;
    for (Layer::Unit& unit : layer.units) waiting.push_back(&unit);
    for (int attempt = 0; attempt < kAttempts && !waiting.empty(); ++attempt) {
      std::vector<Draw> draws;
      for (Layer::Unit* unit : waiting) {
        std::mt19937_64 source = generator(layer, unit->channel, attempt);
        const std::int64_t fan_in = layer.producer.fan_in();
        draws.push_back({unit, options_.init == ReviveInit::He ? surgery::draw_he(source, fan_in)
                                                               : surgery::draw_rai(source, fan_in)});
      }
      const std::vector<surgery::UnitResponse> responses = measure(layer, draws);
      waiting.clear();
      for (std::size_t i = 0; i < draws.size(); ++i) {
        if (!settle(layer, draws[i], responses[i])) waiting.push_back(draws[i].unit);
      }
    }
    for (const Layer::Unit* unit : waiting) {
      refuse(layer, unit->channel,
             fmt::format("no weights drawn for it fire in {:g}% of the samples: its inputs hardly differ "
                         "between them",
                         100 * options_.fire_share));
    }
  }

  /// What the drawn weights give, biases and normalisation aside.
  std::vector<surgery::UnitResponse> measure(const Layer& layer, const std::vector<Draw>& draws) {
    Graph trial = graph_;
    surgery::ConstantEditor editor(trial);
    surgery::LayerEditor writer(trial, editor, layer.producer);
    std::vector<std::int64_t> channels;
    for (const Draw& draw : draws) {
      if (writer.normalised()) writer.write_normalised(draw.unit->channel, draw.weights, 0, 0, 1);
      else writer.write(draw.unit->channel, draw.weights, 0);
      channels.push_back(draw.unit->channel);
    }
    return surgery::measure_responses(
        std::move(trial), layer.activation->input, layer.producer.channel_axis, channels, samples_,
        {.samples = options_.samples, .batch = options_.batch, .threads = options_.threads});
  }

  /// Takes a draw over if some bias lets it fire as often as wanted.
  bool settle(const Layer& layer, const Draw& draw, const surgery::UnitResponse& response) {
    const surgery::Threshold threshold = surgery::threshold_for(response.highest, options_.fire_share);
    const auto n = static_cast<double>(response.highest.size());
    // Of a few samples none but multiples of 1 / n can fire.
    if (std::abs(threshold.share - options_.fire_share) > std::max(kShareSlack, 0.5 / n + 1e-9)) return false;
    if (!std::isfinite(threshold.value) || !std::isfinite(response.mean) || !(response.variance > 1e-20))
      return false;
    take_out(*draw.unit);
    surgery::LayerEditor& writer = writer_of(layer);
    const auto corner = static_cast<double>(
        auditing::firing_of(layer.activation->function, draw.unit->channel).rule.fired_above);
    if (writer.normalised()) {
      // The trial ran with a mean of 0 and a variance of 1.
      const double unscale = std::sqrt(1 + writer.epsilon());
      const double mean = response.mean * unscale;
      const double variance = response.variance * unscale * unscale;
      const double deviation = std::sqrt(variance + writer.epsilon());
      const double bias = corner - (threshold.value * unscale - mean) / deviation;
      writer.write_normalised(draw.unit->channel, draw.weights, bias, mean, variance);
    } else {
      writer.write(draw.unit->channel, draw.weights, (corner - threshold.value) / writer.bias_factor());
    }
    finish(layer, *draw.unit, -1, options_.fire_share);
    return true;
  }

  /// The editor of the layer being worked on.
  surgery::LayerEditor& writer_of(const Layer& layer) {
    auto& writer = writers_[layer.index];
    if (writer == nullptr) writer = std::make_unique<surgery::LayerEditor>(graph_, editor_, layer.producer);
    return *writer;
  }

  void take_out(const Layer::Unit& unit) {
    for (const ChannelReader& reader : unit.readers.readers)
      surgery::take_out(graph_, editor_, reader, touched_);
  }

  void finish(const Layer& layer, const Layer::Unit& unit, std::int64_t donor, double share) {
    const auto& touched = writer_of(layer).touched();
    touched_.insert(touched.begin(), touched.end());
    result_.units.push_back({.node = layer.report->node,
                             .value = layer.report->value,
                             .channel = unit.channel,
                             .constant = unit.constant,
                             .donor = donor,
                             .share_wanted = share});
  }

  // ---- splitting

  struct Donor {
    std::int64_t channel = 0;
    double share = 0;
    int uses = 0;
  };

  void split(Layer& layer) {
    std::vector<Donor> donors;
    for (const ChannelReport& channel : layer.report->channels) {
      const ChannelStatistics& s = channel.statistics;
      if (s.samples_fired == 0 || s.out_min == s.out_max || channel.verdict == Verdict::Rare) continue;
      donors.push_back({.channel = channel.index,
                        .share = static_cast<double>(s.samples_fired) /
                                 static_cast<double>(std::max<std::int64_t>(s.samples, 1))});
    }
    for (Layer::Unit& unit : layer.units) split(layer, unit, donors);
  }

  void split(Layer& layer, Layer::Unit& unit, std::vector<Donor>& donors) {
    const bool parted =
        unit.readers.own_parameters ||
        std::ranges::any_of(unit.readers.readers, [](const ChannelReader& r) { return r.grouped; });
    if (parted) {
      return refuse(layer, unit.channel,
                    "what reads it has parameters for this very channel: a split unit cannot share them");
    }
    const std::int64_t each = layer.producer.channels / layer.producer.input_groups;
    Donor* best = nullptr;
    // A further use of a donor weighs as much as ten points of share.
    const auto rank = [&](const Donor& donor) {
      return std::abs(donor.share - options_.fire_share) + 0.1 * donor.uses;
    };
    for (Donor& donor : donors) {
      const bool same_inputs = donor.channel / each == unit.channel / each;
      if (same_inputs && (best == nullptr || rank(donor) < rank(*best))) best = &donor;
    }
    if (best == nullptr) return refuse(layer, unit.channel, "no live unit sees the same inputs");
    const ChannelReaders readers = readers_of(layer, best->channel, 0);
    const bool alike =
        readers.refusal.empty() && std::ranges::equal(readers.readers, unit.readers.readers,
                                                      [](const ChannelReader& a, const ChannelReader& b) {
                                                        return a.node == b.node && a.at.size() == b.at.size();
                                                      });
    if (!alike)
      return refuse(layer, unit.channel,
                    fmt::format("unit {} cannot be split: {}", best->channel, readers.refusal));
    take_out(unit);
    writer_of(layer).copy(best->channel, unit.channel);
    std::mt19937_64 source = generator(layer, unit.channel, 0);
    for (std::size_t i = 0; i < readers.readers.size(); ++i) {
      surgery::share_out(graph_, editor_, readers.readers[i], unit.readers.readers[i], source, touched_);
    }
    ++best->uses;
    finish(layer, unit, best->channel, best->share);
  }

  // ---- afterwards

  void count_shares(const AuditReport& report) {
    for (RevivedUnit& unit : result_.units) {
      for (const LayerReport& layer : report.layers()) {
        if (layer.node != unit.node || layer.value != unit.value) continue;
        const ChannelStatistics& s = layer.channels.at(static_cast<std::size_t>(unit.channel)).statistics;
        unit.share =
            static_cast<double>(s.samples_fired) / static_cast<double>(std::max<std::int64_t>(s.samples, 1));
      }
    }
  }

  Samples& samples_;
  const ReviveOptions& options_;
  Graph graph_;
  std::vector<ActivationPattern> patterns_;
  surgery::ActivationLookup lookup_;
  surgery::ConstantEditor editor_;
  plan::Specialized specialized_;
  std::map<std::size_t, std::unique_ptr<surgery::LayerEditor>> writers_;
  std::set<TouchedSlice> touched_;
  ReviveResult result_;
};

}  // namespace

const char* to_string(ReviveInit init) noexcept {
  switch (init) {
    case ReviveInit::He: return "he";
    case ReviveInit::Rai: return "rai";
    case ReviveInit::Split: return "split";
  }
  return "?";
}

ReviveInit revive_init_of(const std::string& name) {
  for (const ReviveInit init : {ReviveInit::He, ReviveInit::Rai, ReviveInit::Split}) {
    if (name == to_string(init)) return init;
  }
  throw Error(ErrorCode::InvalidArgument, fmt::format("there is no initialisation '{}'", name),
              {.cure = "he, rai or split"});
}

ReviveResult revive(const Model& model, Samples& samples, const ReviveOptions& options) {
  if (!(options.fire_share > 0 && options.fire_share < 1)) {
    throw Error(ErrorCode::InvalidArgument, "the share of samples to fire on must lie between 0 and 1");
  }
  return Reviver(model, samples, options).run();
}

}  // namespace ember
