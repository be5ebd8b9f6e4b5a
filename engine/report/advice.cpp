#include "report/advice.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "audit/cause_rules.hpp"
#include "report/cause_text.hpp"
#include "report/text_layout.hpp"
#include "report/verdict_text.hpp"

namespace ember::report {

namespace {

/// The largest rate bound among the channels of a verdict.
double worst_bound(const AuditReport& report, Verdict verdict) {
  double worst = 0.0;
  for (const LayerReport& layer : report.layers()) {
    for (const ChannelReport& channel : layer.channels) {
      if (channel.verdict == verdict) worst = std::max(worst, channel.rate_bound);
    }
  }
  return worst;
}

}  // namespace

std::string meaning_in(const AuditReport& report, Verdict verdict) {
  std::string text = text_of(verdict).meaning;
  if (verdict == Verdict::Silent) {
    text = fmt::format(
        "fired in 0 of {} samples; it fires in fewer than {} of samples like these, with {:g}% confidence "
        "for all {} channels together. Not proved dead: another input may fire it.",
        grouped(report.samples), percent(worst_bound(report, Verdict::Silent)), 100.0 * report.confidence,
        grouped(report.channels()));
  } else if (verdict == Verdict::Rare) {
    text += fmt::format(" At most {} of samples like these fire it.",
                        percent(worst_bound(report, Verdict::Rare)));
  }
  return text;
}

std::vector<std::string> next_steps(const AuditReport& report) {
  std::vector<std::string> steps;
  std::set<Remedy> remedies;
  bool unasked = false;
  for (const LayerReport& layer : report.layers()) {
    for (const ChannelReport& channel : layer.channels) {
      remedies.insert(channel.explanation.remedy);
      unasked |= report.explain_samples == 0 && auditing::asks_why(channel);
    }
  }
  if (unasked) {
    steps.emplace_back(
        "Ask for causes, which were not sought: 'ember audit' without --no-explain finds them, and so does "
        "'ember merge' with --model and --data.");
  }
  for (const Remedy remedy : remedies) {
    if (remedy != Remedy::None) steps.push_back(remedy_text(remedy));
  }
  const std::int64_t silent = report.count(Verdict::Silent);
  if (silent > 0) {
    steps.emplace_back(
        "Before removing silent channels, audit with more and with other data: the bound falls as 1 / "
        "samples. Then prune them, or train on with a lower learning rate, a higher bias or a leaky "
        "activation.");
  }
  if (report.count(Verdict::Saturated) > 0) {
    steps.emplace_back(
        "Saturated channels do not learn: scale down their weights, or normalise before them.");
  }
  if (std::ranges::any_of(report.layers(), [](const LayerReport& layer) {
        return layer.gradient && layer.gradient->vanishing && layer.gradient->norm > 0.0;
      })) {
    steps.emplace_back(
        "Layers whose gradient vanishes hardly learn: use an activation that is not flat at its ends, "
        "normalise, initialise larger, or add residual connections.");
  }
  return steps;
}

}  // namespace ember::report
