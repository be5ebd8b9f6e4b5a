#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ember::runtime {

/// Whether a session's next run is worth sharing with helpers. Runs with too little to share stay with their
/// caller, those with plenty are shared, and in between both ways are tried now and then and the faster one
/// is kept: what a hand-over costs differs several times between processors, and with what else they do.
/// Results have the same bits either way.
class Sharing {
 public:
  [[nodiscard]] bool shares() const noexcept { return shares_; }

  /// Tells of a run that went as shares() said: the serial nanoseconds that its loops offered, and those that
  /// it took.
  void ran(std::int64_t offered, std::int64_t took) noexcept;

  /// Runs of each way in a trial.
  static constexpr std::size_t kTrialRuns = 9;

 private:
  using Times = std::array<std::int64_t, kTrialRuns>;

  void restart(std::int64_t offered) noexcept;
  void settle() noexcept;

  bool shares_ = true;
  std::int64_t offered_ = -1;   ///< by the run that the trial began with
  Times together_{}, alone_{};  ///< of the trial under way
  std::size_t tried_ = 0;       ///< runs of the trial
  std::int64_t settled_ = 0;    ///< runs until the next one
  std::int64_t interval_ = 0;   ///< from the last trial to that one; 0: there was none
  bool kept_ = true;            ///< what the last trial ended with
};

}  // namespace ember::runtime
