#include <ember/compare.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace ember {

namespace {

/// Puts the same thing or nothing out for all that was run.
bool is_stuck(Verdict verdict) {
  return verdict == Verdict::ProvedDead || verdict == Verdict::Silent || verdict == Verdict::Refuted ||
         verdict == Verdict::Constant;
}

/// Which element of the later list belongs to which of the earlier: found in rounds, each by one kind of key,
/// from the surest to the weakest.
class Matching {
 public:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  Matching(std::size_t before, std::size_t after) : partner_(after, kNone), taken_(before, false) {}

  using Key = std::function<std::string(std::size_t)>;
  /// Pairs those without a partner whose keys are equal, in order; an empty key matches nothing.
  void round(const Key& before, const Key& after) {
    std::map<std::string, std::vector<std::size_t>> waiting;
    for (std::size_t b = taken_.size(); b-- > 0;) {
      if (!taken_[b]) waiting[before(b)].push_back(b);
    }
    for (std::size_t a = 0; a < partner_.size(); ++a) {
      if (partner_[a] != kNone) continue;
      const std::string key = after(a);
      const auto found = waiting.find(key);
      if (key.empty() || found == waiting.end() || found->second.empty()) continue;
      partner_[a] = found->second.back();
      found->second.pop_back();
      taken_[partner_[a]] = true;
    }
  }

  /// The earlier partner of a later element, or kNone.
  [[nodiscard]] std::size_t partner(std::size_t after) const { return partner_[after]; }
  [[nodiscard]] bool taken(std::size_t before) const { return taken_[before]; }

 private:
  std::vector<std::size_t> partner_;
  std::vector<bool> taken_;
};

/// The weights of all channels, whatever their order; "" when they are not known.
std::string weights_key(const LayerReport& layer) {
  std::vector<std::string> prints;
  for (const ChannelReport& channel : layer.channels) {
    if (channel.fingerprint.empty()) return {};
    prints.push_back(channel.fingerprint);
  }
  std::ranges::sort(prints);
  std::string key;
  for (const std::string& print : prints) key += print + ' ';
  return key;
}

std::string named(const std::string& fingerprint, const LayerReport& layer) {
  return fingerprint.empty() ? std::string() : fmt::format("{} {}", fingerprint, layer.node);
}

Matching match_layers(const std::vector<LayerReport>& before, const std::vector<LayerReport>& after) {
  Matching matching(before.size(), after.size());
  const auto round = [&](const std::function<std::string(const LayerReport&)>& key) {
    matching.round([&](std::size_t b) { return key(before[b]); },
                   [&](std::size_t a) { return key(after[a]); });
  };
  // Among twins the one of the same name comes first.
  round([](const LayerReport& layer) { return named(weights_key(layer), layer); });
  round(weights_key);
  round([](const LayerReport& layer) { return named(layer.fingerprint, layer); });
  round([](const LayerReport& layer) { return layer.fingerprint; });
  round([](const LayerReport& layer) { return fmt::format("{} {}", layer.op, layer.node); });
  return matching;
}

std::string kind(const LayerReport& layer) { return fmt::format("{} {}", layer.op, layer.channels.size()); }

/// An exporter may write the same network with other operators *and* other names. When all that is left on
/// both sides are the same kinds of layers in the same order, that is what happened; returns how many.
std::size_t match_by_order(const std::vector<LayerReport>& before, const std::vector<LayerReport>& after,
                           Matching& matching) {
  std::map<std::size_t, std::string> places_before;
  std::map<std::size_t, std::string> places_after;
  std::vector<std::string> kinds_before;
  std::vector<std::string> kinds_after;
  const auto leave = [](std::size_t at, const LayerReport& layer, auto& places, auto& kinds) {
    places[at] = std::to_string(kinds.size());
    kinds.push_back(kind(layer));
  };
  for (std::size_t b = 0; b < before.size(); ++b) {
    if (!matching.taken(b)) leave(b, before[b], places_before, kinds_before);
  }
  for (std::size_t a = 0; a < after.size(); ++a) {
    if (matching.partner(a) == Matching::kNone) leave(a, after[a], places_after, kinds_after);
  }
  if (kinds_before != kinds_after) return 0;
  matching.round([&](std::size_t b) { return places_before[b]; },
                 [&](std::size_t a) { return places_after[a]; });
  return kinds_before.size();
}

Matching match_channels(const LayerReport& before, const LayerReport& after) {
  Matching matching(before.channels.size(), after.channels.size());
  matching.round([&](std::size_t b) { return before.channels[b].fingerprint; },
                 [&](std::size_t a) { return after.channels[a].fingerprint; });
  if (before.channels.size() == after.channels.size()) {
    const auto index = [](std::size_t i) { return std::to_string(i); };
    matching.round(index, index);
    // What is left on both sides moved and changed at once: in order.
    const auto any = [](std::size_t) { return std::string("any"); };
    matching.round(any, any);
  }
  return matching;
}

ChannelChange added(const ChannelReport& channel) {
  return {.change = is_unhealthy(channel.verdict) ? Change::NewlyUnhealthy : Change::Added,
          .after_index = channel.index,
          .after = channel.verdict};
}

Change change_of(Verdict before, Verdict after) {
  if (is_unhealthy(after) && (!is_unhealthy(before) || (is_stuck(after) && !is_stuck(before)))) {
    return Change::NewlyUnhealthy;
  }
  return is_unhealthy(before) && !is_unhealthy(after) ? Change::Recovered : Change::Other;
}

LayerComparison compare_layers(const LayerReport& before, const LayerReport& after) {
  LayerComparison result;
  result.before_node = before.node;
  result.after_node = after.node;
  result.op = after.op;
  result.channels_before = static_cast<std::int64_t>(before.channels.size());
  result.channels_after = static_cast<std::int64_t>(after.channels.size());
  const Matching matching = match_channels(before, after);
  for (std::size_t a = 0; a < after.channels.size(); ++a) {
    const ChannelReport& now = after.channels[a];
    if (matching.partner(a) == Matching::kNone) {
      result.changes.push_back(added(now));
      continue;
    }
    const ChannelReport& then = before.channels[matching.partner(a)];
    if (then.fingerprint != now.fingerprint) ++result.weights_changed;
    if (then.verdict == now.verdict) continue;
    result.changes.push_back({.change = change_of(then.verdict, now.verdict),
                              .before_index = then.index,
                              .after_index = now.index,
                              .before = then.verdict,
                              .after = now.verdict});
  }
  for (std::size_t b = 0; b < before.channels.size(); ++b) {
    if (matching.taken(b)) continue;
    const ChannelReport& then = before.channels[b];
    result.changes.push_back({.change = Change::Removed, .before_index = then.index, .before = then.verdict});
  }
  return result;
}

LayerOnce once(const LayerReport& layer) {
  return {.node = layer.node, .op = layer.op, .channels = static_cast<std::int64_t>(layer.channels.size())};
}

ComparedAudit compared(const AuditReport& report) {
  ComparedAudit audit{.model = report.model,
                      .model_hash = report.model_hash,
                      .data = report.data,
                      .data_hash = report.data_hash,
                      .samples = report.samples,
                      .channels = report.channels()};
  for (const LayerReport& layer : report.layers()) {
    audit.unhealthy += std::ranges::count_if(
        layer.channels, [](const ChannelReport& channel) { return is_unhealthy(channel.verdict); });
  }
  return audit;
}

std::vector<std::string> notes_of(const AuditReport& before, const AuditReport& after) {
  std::vector<std::string> notes;
  if (before.data_hash != after.data_hash) {
    notes.push_back(fmt::format("the data differ: {} before, {} after", before.data, after.data));
  }
  if (before.samples != after.samples) {
    notes.push_back(fmt::format("{} samples before, {} after", before.samples, after.samples));
  }
  if (before.confidence != after.confidence) {
    notes.push_back(fmt::format("confidence {:g} before, {:g} after", before.confidence, after.confidence));
  }
  if (before.isa != after.isa) {
    notes.push_back(
        fmt::format("run with {} before, {} after: results differ in rounding", before.isa, after.isa));
  }
  return notes;
}

}  // namespace

bool is_unhealthy(Verdict verdict) noexcept {
  return verdict != Verdict::Healthy && verdict != Verdict::AlwaysOn;
}

const char* to_string(Change change) noexcept {
  switch (change) {
    case Change::NewlyUnhealthy: return "newly_unhealthy";
    case Change::Recovered: return "recovered";
    case Change::Other: return "other";
    case Change::Added: return "added";
    case Change::Removed: break;
  }
  return "removed";
}

std::int64_t LayerComparison::count(Change change) const {
  return std::ranges::count(changes, change, &ChannelChange::change);
}

std::int64_t AuditComparison::count(Change change) const {
  std::int64_t total = 0;
  for (const LayerComparison& layer : layers) total += layer.count(change);
  for (const LayerOnce& layer : added) {
    const auto unhealthy = static_cast<std::int64_t>(layer.unhealthy.size());
    if (change == Change::NewlyUnhealthy) total += unhealthy;
    if (change == Change::Added) total += layer.channels - unhealthy;
  }
  for (const LayerOnce& layer : removed) {
    if (change == Change::Removed) total += layer.channels;
  }
  return total;
}

AuditComparison compare(const AuditReport& before, const AuditReport& after) {
  AuditComparison comparison;
  comparison.before = compared(before);
  comparison.after = compared(after);
  comparison.notes = notes_of(before, after);
  Matching matching = match_layers(before.layers(), after.layers());
  if (const std::size_t n = match_by_order(before.layers(), after.layers(), matching); n > 0) {
    comparison.notes.push_back(
        fmt::format("{} layers are compared by their order: their structure and names differ", n));
  }
  for (std::size_t a = 0; a < after.layers().size(); ++a) {
    const LayerReport& layer = after.layers()[a];
    if (matching.partner(a) != Matching::kNone) {
      comparison.layers.push_back(compare_layers(before.layers()[matching.partner(a)], layer));
      continue;
    }
    LayerOnce fresh = once(layer);
    for (const ChannelReport& channel : layer.channels) {
      if (is_unhealthy(channel.verdict)) fresh.unhealthy.push_back(added(channel));
    }
    comparison.added.push_back(std::move(fresh));
  }
  for (std::size_t b = 0; b < before.layers().size(); ++b) {
    if (!matching.taken(b)) comparison.removed.push_back(once(before.layers()[b]));
  }
  return comparison;
}

}  // namespace ember
