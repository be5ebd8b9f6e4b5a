#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ember/audit.hpp>

namespace ember {

/// Every verdict but healthy and always_on.
bool is_unhealthy(Verdict verdict) noexcept;

/// What became of a channel between two audits.
enum class Change {
  NewlyUnhealthy,  ///< healthy or unknown before; or it fired before and is silent, dead or constant now
  Recovered,       ///< unhealthy before, not now
  Other,           ///< another verdict, neither better nor worse in the sense above
  Added,           ///< not there before, and nothing is wrong with it
  Removed,         ///< there before only
};
/// "newly_unhealthy", "recovered", …
const char* to_string(Change change) noexcept;

struct ChannelChange {
  Change change = Change::Other;
  std::optional<std::int64_t> before_index;  ///< none: the channel was not there
  std::optional<std::int64_t> after_index;   ///< none: the channel is not there any more
  std::optional<Verdict> before, after;      ///< as the indices
};

/// A layer that both reports have.
struct LayerComparison {
  std::string before_node, after_node;  ///< may differ: layers are matched by fingerprint first
  std::string op;
  std::int64_t channels_before = 0, channels_after = 0;
  std::int64_t weights_changed = 0;    ///< matched channels whose weights are not the same
  std::vector<ChannelChange> changes;  ///< what differs, in the order of the later report, removed ones last

  [[nodiscard]] std::int64_t count(Change change) const;
};

/// A layer that one report has.
struct LayerOnce {
  std::string node, op;
  std::int64_t channels = 0;
  std::vector<ChannelChange> unhealthy;  ///< of an added layer: all of them newly unhealthy
};

/// What is compared, for the reader.
struct ComparedAudit {
  std::string model, model_hash, data, data_hash;
  std::int64_t samples = 0, channels = 0, unhealthy = 0;
};

struct AuditComparison {
  ComparedAudit before, after;
  std::vector<LayerComparison> layers;  ///< in the order of the later report
  std::vector<LayerOnce> added, removed;
  std::vector<std::string> notes;  ///< why the two may differ for another reason than the network

  [[nodiscard]] std::int64_t count(Change change) const;
};

/// Compares two audits channel by channel. Layers are matched by their weights, by the structure that leads
/// to them, by name, and last by order, if that leaves none over; channels by their weights, and where these
/// changed, by index. So the comparison survives renaming, re-export, training on and the reordering of
/// channels; after removing channels *and* training on nothing tells which channel was which, and they count
/// as removed and added.
AuditComparison compare(const AuditReport& before, const AuditReport& after);

/// As JSON (schema "ember-comparison-1"), and as text for a terminal.
std::string to_json(const AuditComparison& comparison);
std::string to_text(const AuditComparison& comparison, const TextReportOptions& options = {});

}  // namespace ember
