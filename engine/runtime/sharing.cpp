#include "runtime/sharing.hpp"

#include <algorithm>

namespace ember::runtime {

namespace {

/// Serial nanoseconds that a run's loops must offer: waking a thread takes this long, and by then a smaller
/// run is over.
constexpr std::int64_t kWorthwhile = 20'000;
/// From here on loops are long enough for their hand-over not to matter, and a run alone would be noticed.
constexpr std::int64_t kPlenty = 500'000;

/// Runs between trials: few at first, more with every trial that ends like the one before.
constexpr std::int64_t kShortestInterval = 256;
constexpr std::int64_t kLongestInterval = 8192;

/// A single run says little: others may have taken the processor.
template <class Times>
std::int64_t median(Times times) noexcept {
  const auto middle = times.begin() + times.size() / 2;
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace

void Sharing::restart(std::int64_t offered) noexcept {
  shares_ = offered >= kWorthwhile;
  offered_ = offered;
  tried_ = 0;
  settled_ = 0;
  interval_ = 0;
}

void Sharing::ran(std::int64_t offered, std::int64_t took) noexcept {
  // Another network or another input size; a branch not taken makes a difference, too, but hardly this one.
  // Of the same loops fewer are offered when nobody shares them, being cut into fewer tasks.
  if (offered > 2 * offered_ || (shares_ && offered < offered_ / 2)) return restart(offered);
  if (offered_ < kWorthwhile || offered_ >= kPlenty) return;
  if (settled_ > 0) {
    if (--settled_ > 0) return;
    tried_ = 0;
    shares_ = true;
    return;
  }
  // One way in a row: a helper that has just been there comes back at once, one that sleeps does not.
  (tried_ < kTrialRuns ? together_[tried_] : alone_[tried_ - kTrialRuns]) = took;
  ++tried_;
  if (tried_ == 2 * kTrialRuns) settle();
  else shares_ = tried_ < kTrialRuns;
}

void Sharing::settle() noexcept {
  shares_ = median(together_) < median(alone_);
  interval_ =
      interval_ > 0 && shares_ == kept_ ? std::min(2 * interval_, kLongestInterval) : kShortestInterval;
  kept_ = shares_;
  settled_ = interval_;
}

}  // namespace ember::runtime
