#include <ember/prune.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "core/sha256.hpp"
#include "surgery/cost.hpp"
#include "surgery/removal.hpp"

namespace ember {

namespace {

using surgery::Removal;
using surgery::StuckChannel;

/// A rounded model has to be this much faster than one without superfluous channels to be preferred.
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
  if (report.model_hash.empty() || report.model_hash == sha256_hex(model.serialize())) return;
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

PruneResult finish(const Model& before, Removal removal, std::int64_t round, const PruneOptions& options,
                   std::vector<std::string> notes) {
  PruneResult result{.model = Model(removal.graph),
                     .map = std::move(removal.map),
                     .removed = std::move(removal.removed),
                     .kept = std::move(removal.kept),
                     .before = surgery::cost_of(before, options.threads),
                     .after = {},
                     .round = round,
                     .notes = std::move(notes)};
  result.after = surgery::cost_of(result.model, options.threads);
  const std::array models{before, result.model};
  const std::vector<double> times = surgery::measure(models, options.threads);
  result.before.milliseconds = times[0];
  result.after.milliseconds = times[1];
  return result;
}

/// The better of removing all that can go, and of keeping multiples of the vector width.
PruneResult prune_measured(const Model& model, const std::vector<StuckChannel>& findings,
                           const PruneOptions& options, std::vector<std::string> notes) {
  const std::int64_t width = surgery::vector_width();
  Removal exact = surgery::remove_channels(model.graph(), findings, 1);
  if (exact.removed.empty()) return finish(model, std::move(exact), 1, options, std::move(notes));
  Removal rounded = surgery::remove_channels(model.graph(), findings, width);
  if (rounded.removed.size() == exact.removed.size())
    return finish(model, std::move(exact), 1, options, std::move(notes));
  const std::array models{Model(exact.graph), Model(rounded.graph)};
  const std::vector<double> times = surgery::measure(models, options.threads);
  if (times[1] > times[0] * kWorthRounding)
    return finish(model, std::move(exact), 1, options, std::move(notes));
  notes.push_back(fmt::format(
      "layers keep a multiple of {} channels: {:.3f} ms per inference instead of {:.3f} ms without the {} "
      "channels that stay for it",
      width, times[1], times[0], exact.removed.size() - rounded.removed.size()));
  return finish(model, std::move(rounded), width, options, std::move(notes));
}

PruneResult prune_findings(const Model& model, const std::vector<StuckChannel>& findings,
                           const PruneOptions& options, std::vector<std::string> notes) {
  if (options.round < 0) {
    throw Error(ErrorCode::InvalidArgument,
                fmt::format("channels cannot be rounded to a multiple of {}", options.round),
                {.cure = "give a positive number, or 0 to choose"});
  }
  if (options.round == 0) return prune_measured(model, findings, options, std::move(notes));
  return finish(model, surgery::remove_channels(model.graph(), findings, options.round), options.round,
                options, std::move(notes));
}

}  // namespace

PruneResult prune(const Model& model, const AuditReport& report, const PruneOptions& options) {
  std::vector<std::string> notes;
  const std::vector<StuckChannel> findings = findings_of(model, report, options.only, notes);
  return prune_findings(model, findings, options, std::move(notes));
}

PruneResult prune(const Model& model, const PruneOptions& options) {
  return prune_findings(model, {}, options, {});
}

}  // namespace ember
