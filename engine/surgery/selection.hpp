#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "surgery/analysis.hpp"

namespace ember::surgery {

/// To what multiples layers keep channels that could go.
struct Rounding {
  std::int64_t multiple = 1;
  /// Only the layers that these nodes make; none given: all.
  std::optional<std::set<graph::NodeId>> layers = std::nullopt;
};

/// Which groups of channels can go: those that nobody reads any more, or that every reader reads as 0 or as a
/// constant that its bias can take over; found to a fixpoint, since what feeds only removed channels is not
/// read either.
class Selection {
 public:
  /// The analysis is borrowed.
  Selection(const Analysis& analysis, Rounding rounding);

  /// By slot.
  [[nodiscard]] const std::vector<bool>& removed() const noexcept { return removed_; }
  [[nodiscard]] bool any() const noexcept { return any_; }
  /// Why a group that was not removed stays.
  [[nodiscard]] Refusal why_kept(Slot group) const;
  /// The constant that a group is where it is read; none when it went because nobody reads it.
  [[nodiscard]] std::optional<double> constant(Slot group) const;
  /// For reads whose bias takes no constants over: the constant input that stands for the removed ones.
  [[nodiscard]] const std::map<const LinearRead*, std::int64_t>& stand_ins() const noexcept {
    return stand_ins_;
  }
  /// What layers kept for the sake of rounding: groups, by the node that makes the layer.
  [[nodiscard]] const std::map<graph::NodeId, std::vector<Slot>>& rounded() const noexcept {
    return rounded_;
  }

 private:
  using Use = std::pair<const LinearRead*, std::int64_t>;
  [[nodiscard]] bool gone(Slot slot) const { return removed_[static_cast<std::size_t>(slot)]; }
  [[nodiscard]] bool harmless(const LinearRead& read, std::int64_t input) const;
  [[nodiscard]] bool removable(Slot group) const;
  /// The constant of an input that is not removed for the sake of this read alone.
  [[nodiscard]] bool mergeable(const LinearRead& read, std::int64_t input) const;
  /// How much a group is worth as a stand-in: that it stays anyway, then how many reads need one.
  [[nodiscard]] std::pair<bool, std::size_t> standing(Slot group) const;
  void find_candidates();
  void settle();
  /// Names an input for a read to keep, so that its other constants can go; true when it did.
  bool merge_constants();
  /// These keep something more; true when they did.
  bool keep_one_each();
  bool balance_groups();
  bool balance(const GroupedRead& grouped, Slot first, std::int64_t groups, std::int64_t each);
  bool round_layers();
  void keep(Slot slot, const std::string& node, const std::string& why);

  const Analysis& analysis_;
  const Slots& slots_;
  Rounding rounding_;
  std::map<graph::NodeId, std::vector<Slot>> rounded_;
  std::map<Slot, std::vector<Use>> uses_;  ///< by group
  std::vector<Slot> candidates_;           ///< groups
  std::map<Slot, Refusal> kept_;           ///< groups that have to stay although they could go
  std::map<const LinearRead*, std::int64_t> stand_ins_;
  std::vector<bool> removed_;
  bool any_ = false;
};

}  // namespace ember::surgery
