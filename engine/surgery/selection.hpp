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

/// Which groups of channels can go: those that nobody reads any more, or that every reader reads as 0 or as a
/// constant that its bias can take over; found to a fixpoint, since what feeds only removed channels is not
/// read either.
class Selection {
 public:
  /// Layers keep a multiple of `multiple` channels (1: any number), by keeping some that could go. The
  /// analysis is borrowed.
  Selection(const Analysis& analysis, std::int64_t multiple);

  /// By slot.
  [[nodiscard]] const std::vector<bool>& removed() const noexcept { return removed_; }
  [[nodiscard]] bool any() const noexcept { return any_; }
  /// Why a group that was not removed stays.
  [[nodiscard]] Refusal why_kept(Slot group) const;
  /// The constant that a group is where it is read; none when it went because nobody reads it.
  [[nodiscard]] std::optional<double> constant(Slot group) const;

 private:
  using Use = std::pair<const LinearRead*, std::int64_t>;
  [[nodiscard]] bool gone(Slot slot) const { return removed_[static_cast<std::size_t>(slot)]; }
  [[nodiscard]] bool harmless(const LinearRead& read, std::int64_t input) const;
  [[nodiscard]] bool removable(Slot group) const;
  void find_candidates();
  void settle();
  /// These keep something more; true when they did.
  bool keep_one_each();
  bool balance_groups();
  bool balance(const GroupedRead& grouped, Slot first, std::int64_t groups, std::int64_t each);
  bool round_layers();
  void keep(Slot slot, const std::string& node, const std::string& why);

  const Analysis& analysis_;
  const Slots& slots_;
  std::int64_t multiple_;
  std::map<Slot, std::vector<Use>> uses_;  ///< by group
  std::vector<Slot> candidates_;           ///< groups
  std::map<Slot, Refusal> kept_;           ///< groups that have to stay although they could go
  std::vector<bool> removed_;
  bool any_ = false;
};

}  // namespace ember::surgery
