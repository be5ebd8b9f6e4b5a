#include <algorithm>

#include <ember/audit.hpp>

namespace ember {

const char* to_string(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::ProvedDead: return "proved_dead";
    case Verdict::Silent: return "silent";
    case Verdict::Refuted: return "refuted";
    case Verdict::Rare: return "rare";
    case Verdict::Dormant: return "dormant";
    case Verdict::Constant: return "constant";
    case Verdict::Saturated: return "saturated";
    case Verdict::AlwaysOn: return "always_on";
    case Verdict::Healthy: break;
  }
  return "healthy";
}

const char* to_string(Proof proof) noexcept {
  switch (proof) {
    case Proof::Sign: return "sign";
    case Proof::Interval: return "interval";
    case Proof::Substitution: return "substitution";
    case Proof::Splitting: return "splitting";
    case Proof::None: break;
  }
  return "none";
}

void ChannelStatistics::merge(const ChannelStatistics& other) {
  const bool has_moments = positions > not_finite;
  if (other.positions > other.not_finite) {
    pre_min = has_moments ? std::min(pre_min, other.pre_min) : other.pre_min;
    pre_max = has_moments ? std::max(pre_max, other.pre_max) : other.pre_max;
    out_min = has_moments ? std::min(out_min, other.out_min) : other.out_min;
    out_max = has_moments ? std::max(out_max, other.out_max) : other.out_max;
  }
  if (other.first_fired >= 0) {
    first_fired = first_fired < 0 ? other.first_fired : std::min(first_fired, other.first_fired);
  }
  samples += other.samples;
  samples_fired += other.samples_fired;
  samples_saturated += other.samples_saturated;
  positions += other.positions;
  positions_fired += other.positions_fired;
  positions_saturated += other.positions_saturated;
  not_finite += other.not_finite;
  pre_sum += other.pre_sum;
  pre_sum_squares += other.pre_sum_squares;
  out_sum += other.out_sum;
  out_sum_squares += other.out_sum_squares;
  out_sum_abs += other.out_sum_abs;
}

std::int64_t LayerReport::count(Verdict verdict) const {
  return std::ranges::count(channels, verdict, &ChannelReport::verdict);
}

std::int64_t AuditReport::channels() const {
  std::int64_t total = 0;
  for (const LayerReport& layer : layer_reports) total += static_cast<std::int64_t>(layer.channels.size());
  return total;
}

std::int64_t AuditReport::count(Verdict verdict) const {
  std::int64_t total = 0;
  for (const LayerReport& layer : layer_reports) total += layer.count(verdict);
  return total;
}

}  // namespace ember
