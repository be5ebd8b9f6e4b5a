#include <ember/prune.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "onnx/write.hpp"
#include "ops/op.hpp"
#include "surgery/cost.hpp"
#include "surgery/linearize.hpp"
#include "surgery/removal.hpp"
#include "surgery/time_model.hpp"

namespace ember {

namespace {

using surgery::Removal;
using surgery::StuckChannel;

/// A rounded layer has to be this much faster than one without superfluous channels to be preferred.
constexpr double kWorthRounding = 0.97;

bool wanted(Verdict verdict, PruneOnly only) {
  switch (verdict) {
    case Verdict::ProvedDead: return only != PruneOnly::Constant;
    case Verdict::Silent: return only == PruneOnly::All || only == PruneOnly::Silent;
    case Verdict::Constant: return only == PruneOnly::All || only == PruneOnly::Constant;
    default: return false;
  }
}

void require_same_model(const Model& model, const AuditReport& report) {
  if (report.model_hash.empty() || report.model_hash == onnx::hash_bytes(model.graph())) return;
  throw Error(ErrorCode::InvalidArgument, fmt::format("the report is of another model ('{}')", report.model),
              {.model = model.name(), .cure = "audit this very model"});
}

/// The channels of a report that may go. A silent one whose activation still gives something (a GELU's tail)
/// is no constant, and a note says so.
std::vector<StuckChannel> findings_of(const Model& model, const AuditReport& report, PruneOnly only,
                                      std::vector<std::string>& notes) {
  require_same_model(model, report);
  const graph::Graph& graph = model.graph();
  std::vector<StuckChannel> findings;
  for (const LayerReport& layer : report.layers()) {
    const graph::ValueId value = graph.find_value(layer.value);
    std::int64_t varying = 0;
    for (const ChannelReport& channel : layer.channels) {
      if (!wanted(channel.verdict, only)) continue;
      if (value == graph::kNoValue) {
        throw Error(ErrorCode::InvalidArgument, "the report names a tensor that the model lacks",
                    {.model = model.name(), .tensor = layer.value, .cure = "audit this very model"});
      }
      const ChannelStatistics& seen = channel.statistics;
      if (seen.out_min != seen.out_max) {
        ++varying;
        continue;
      }
      findings.push_back({.value = value,
                          .axis = layer.channel_axis,
                          .index = channel.index,
                          .constant = seen.out_min,
                          .verdict = channel.verdict});
    }
    if (varying == 0) continue;
    notes.push_back(
        fmt::format("{}: {} silent channels stay, since {} gives small values other than a constant",
                    layer.node, varying, layer.op));
  }
  return findings;
}

// ---- stably active units

/// What an activation multiplied a channel by, wherever it was seen; nullopt when that is no one number.
std::optional<double> slope_of(const graph::Graph& graph, graph::NodeId activation,
                               const ChannelStatistics& seen) {
  if (seen.positions == 0 || seen.not_finite != 0) return std::nullopt;
  if (seen.pre_min == seen.out_min && seen.pre_max == seen.out_max && seen.pre_sum == seen.out_sum)
    return 1.0;
  const graph::Node& node = graph.node(activation);
  if (node.domain.empty() && node.op == "LeakyRelu" && seen.pre_max <= 0.0)
    return static_cast<double>(ops::NodeContext(graph, activation).real("alpha", 0.01F));
  return std::nullopt;
}

/// The entry of a tensor and axis in a channel map.
ChannelMap* entry_of(std::vector<ChannelMap>& map, const std::string& tensor, int axis) {
  const auto found = std::ranges::find_if(map, [&](const ChannelMap& entry) {
    return entry.tensor == tensor && entry.group < 0 && entry.axis == axis;
  });
  return found == map.end() ? nullptr : &*found;
}

/// Takes positions out of a map, by their place in the pruned tensor of `extent` positions.
void cut_map(std::vector<ChannelMap>& map, const std::string& tensor, int axis, std::int64_t extent,
             const std::vector<std::int64_t>& gone) {
  ChannelMap* entry = entry_of(map, tensor, axis);
  if (entry == nullptr) {
    entry = &map.emplace_back(
        ChannelMap{.tensor = tensor, .axis = axis, .before = extent, .kept = {}, .group = -1});
    for (std::int64_t i = 0; i < extent; ++i) entry->kept.push_back(i);
  }
  std::vector<std::int64_t> kept;
  for (std::size_t i = 0; i < entry->kept.size(); ++i) {
    if (!std::ranges::binary_search(gone, static_cast<std::int64_t>(i))) kept.push_back(entry->kept[i]);
  }
  entry->kept = std::move(kept);
}

/// Which units of the pruned network never clip, and what is known of them.
std::vector<surgery::StablyActive> active_units(const graph::Graph& graph, const AuditReport& report,
                                                std::vector<ChannelMap>& map,
                                                std::vector<LinearizedLayer>& layers) {
  std::vector<surgery::StablyActive> active;
  for (const LayerReport& layer : report.layers()) {
    const graph::ValueId value = graph.find_value(layer.value);
    if (value == graph::kNoValue || graph.value(value).producer == graph::kNoNode) continue;
    const ChannelMap* entry = entry_of(map, layer.value, layer.channel_axis);
    surgery::StablyActive units{.value = value, .axis = layer.channel_axis, .units = {}};
    const graph::NodeId activation = graph.value(value).producer;
    LinearizedLayer listed;
    listed.node = layer.node;
    listed.value = layer.value;
    for (const ChannelReport& channel : layer.channels) {
      if (channel.verdict != Verdict::AlwaysOn) continue;
      const auto slope = slope_of(graph, activation, channel.statistics);
      if (!slope.has_value()) continue;
      std::int64_t place = channel.index;
      if (entry != nullptr) {
        const auto found = std::ranges::find(entry->kept, channel.index);
        if (found == entry->kept.end()) continue;
        place = found - entry->kept.begin();
      }
      units.units.push_back(place);
      units.slopes.push_back(*slope);
      ++listed.active;
      if (channel.proof != Proof::None) ++listed.proved;
    }
    if (units.units.empty()) continue;
    active.push_back(std::move(units));
    layers.push_back(std::move(listed));
  }
  return active;
}

/// Folds what never clips, and keeps the books.
void linearize(const AuditReport& report, Removal& removal, std::vector<LinearizedLayer>& layers) {
  const auto active = active_units(*removal.graph, report, removal.map, layers);
  if (active.empty()) return;
  const surgery::Linearization changed = surgery::linearize(*removal.graph, active);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const surgery::Linearized& layer = changed.layers[i];
    LinearizedLayer& listed = layers[i];
    listed.merged = layer.merged;
    listed.saved = layer.saved;
    listed.refusal = layer.refusal;
    const ChannelMap* entry = entry_of(removal.map, listed.value, active[i].axis);
    for (const std::int64_t unit : layer.gone)
      listed.gone.push_back(entry == nullptr ? unit : entry->kept[static_cast<std::size_t>(unit)]);
    for (const auto& [tensor, axis] : layer.cut) cut_map(removal.map, tensor, axis, layer.units, layer.gone);
  }
  // The tensors of a merged layer are no more.
  std::erase_if(removal.map, [&](const ChannelMap& entry) {
    return !changed.graph->is_available(changed.graph->find_value(entry.tensor));
  });
  removal.graph = changed.graph;
}

/// What is being done: to what, on whose findings, and how.
struct Task {
  const Model& model;
  const AuditReport* report;
  const PruneOptions& options;
  std::vector<StuckChannel> findings;
  std::vector<std::string> notes;
};

PruneResult finish(Task task, Removal removal, std::int64_t round) {
  std::vector<std::string> notes = std::move(task.notes);
  notes.insert(notes.end(), removal.notes.begin(), removal.notes.end());
  std::vector<LinearizedLayer> linearized;
  if (task.options.linearize) linearize(*task.report, removal, linearized);
  PruneResult result{.model = Model(removal.graph),
                     .map = std::move(removal.map),
                     .removed = std::move(removal.removed),
                     .kept = std::move(removal.kept),
                     .linearized = std::move(linearized),
                     .before = surgery::cost_of(task.model, task.options.threads),
                     .after = {},
                     .round = round,
                     .notes = std::move(notes)};
  result.after = surgery::cost_of(result.model, task.options.threads);
  return result;
}

/// What the steps of a network take that some nodes and values have a part in.
double time_of(const surgery::StepTimes& time, const std::set<std::string>& labels) {
  double sum = 0.0;
  for (const surgery::StepTimes::Step& step : time.steps) {
    const bool touched =
        std::ranges::any_of(step.labels, [&](const std::string& label) { return labels.contains(label); });
    if (touched) sum += step.milliseconds;
  }
  return sum;
}

/// Every layer as it is faster: with whatever is left, or with a multiple of the channels that a kernel
/// computes at once. Both ways are run, and each layer judged by the steps that have more channels for it.
PruneResult prune_fastest(Task task) {
  const std::int64_t width = surgery::vector_width();
  const int threads = task.options.threads;
  const graph::Graph& graph = task.model.graph();
  Removal exact = surgery::remove_channels(graph, task.findings);
  const Removal rounded = surgery::remove_channels(graph, task.findings, {.multiple = width});
  if (rounded.rounded.empty()) return finish(std::move(task), std::move(exact), 1);
  std::array models{Model(exact.graph), Model(rounded.graph)};
  const std::vector<surgery::StepTimes> times = surgery::time_steps(models, threads);
  std::set<graph::NodeId> layers;
  for (const auto& [layer, labels] : rounded.rounded) {
    if (time_of(times[1], labels) < kWorthRounding * time_of(times[0], labels)) layers.insert(layer);
  }
  if (layers.empty()) return finish(std::move(task), std::move(exact), 1);
  Removal mixed = surgery::remove_channels(graph, task.findings, {.multiple = width, .layers = layers});
  models[1] = Model(mixed.graph);
  const std::vector<double> whole = surgery::measure(models, threads);
  if (mixed.rounded.empty() || whole[1] >= whole[0]) return finish(std::move(task), std::move(exact), 1);
  task.notes.push_back(fmt::format(
      "{} layers keep a multiple of {} channels: {:.4g} ms per inference instead of {:.4g} ms without the {} "
      "channels that stay for it",
      mixed.rounded.size(), width, whole[1], whole[0], exact.removed.size() - mixed.removed.size()));
  return finish(std::move(task), std::move(mixed), width);
}

PruneResult prune_task(Task task) {
  const Model& model = task.model;
  const PruneOptions& options = task.options;
  if (options.round < 0) {
    throw Error(ErrorCode::InvalidArgument,
                fmt::format("channels cannot be rounded to a multiple of {}", options.round),
                {.cure = "give a positive number, or 0 to choose"});
  }
  const surgery::TimeModel times(model, options.threads);
  PruneResult result = [&] {
    if (options.round == 0) return prune_fastest(std::move(task));
    Removal removal = surgery::remove_channels(model.graph(), task.findings, {.multiple = options.round});
    return finish(std::move(task), std::move(removal), options.round);
  }();
  result.before.predicted_milliseconds = times.predict(model).milliseconds;
  result.after.predicted_milliseconds = times.predict(result.model).milliseconds;
  const std::array models{model, result.model};
  const std::vector<double> measured = surgery::measure(models, options.threads);
  result.before.milliseconds = measured[0];
  result.after.milliseconds = measured[1];
  return result;
}

}  // namespace

PruneResult prune(const Model& model, const AuditReport& report, const PruneOptions& options) {
  std::vector<std::string> notes;
  std::vector<StuckChannel> findings = findings_of(model, report, options.only, notes);
  return prune_task({.model = model,
                     .report = &report,
                     .options = options,
                     .findings = std::move(findings),
                     .notes = std::move(notes)});
}

PruneResult prune(const Model& model, const PruneOptions& options) {
  if (options.linearize) {
    throw Error(ErrorCode::InvalidArgument, "which units never clip is not known",
                {.model = model.name(), .cure = "give data or an audit report"});
  }
  return prune_task({.model = model, .report = nullptr, .options = options, .findings = {}, .notes = {}});
}

}  // namespace ember
