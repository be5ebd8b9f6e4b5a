#include "report/gradient_text.hpp"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

#include "report/text_layout.hpp"

namespace ember::report {

namespace {

/// Lines beyond these are left to the JSON report.
constexpr std::size_t kMost = 20;
/// A layer of which this share of positions is flat is said to be saturated.
constexpr double kSaturated = 0.5;

}  // namespace

std::vector<std::int64_t> without_gradient(const LayerReport& layer) {
  std::vector<std::int64_t> none;
  for (const ChannelReport& channel : layer.channels) {
    if (channel.gradient.samples > 0 && channel.gradient.samples_nonzero == 0) none.push_back(channel.index);
  }
  return none;
}

std::string gradient_summary(const AuditReport& report) {
  const GradientReport& g = *report.gradient;
  return fmt::format(
      "Gradient of the {} of '{}', back-propagated from {} samples: mean loss {:.3g}. Accuracy {} ({} of "
      "{}).",
      g.loss, g.output, grouped(g.samples), g.mean_loss, percent(g.accuracy()), grouped(g.correct),
      grouped(g.labelled));
}

std::vector<GradientFinding> gradient_findings(const AuditReport& report, std::size_t width) {
  std::vector<GradientFinding> findings;
  for (std::size_t i = 0; i < report.layers().size(); ++i) {
    const LayerReport& layer = report.layers()[i];
    if (!layer.gradient) continue;
    const std::vector<std::int64_t> none = without_gradient(layer);
    if (!none.empty() && none.size() == layer.channels.size()) {
      findings.push_back(
          {i, fmt::format("no sample brings a gradient to any of its {} channels.", none.size())});
    } else if (!none.empty()) {
      findings.push_back({i, fmt::format("no sample brings a gradient to {} of {} channels ({}).",
                                         none.size(), layer.channels.size(), ranges(none, width))});
    }
    if (layer.gradient->vanishing && layer.gradient->norm > 0.0) {
      findings.push_back(
          {i,
           fmt::format("the gradient vanishes: its norm is {:.2g} of the largest from here on to the loss.",
                       layer.gradient->ratio)});
    }
    if (layer.gradient->saturated >= kSaturated) {
      findings.push_back({i, fmt::format("{} of its values lie where {} is flat, which lets no gradient "
                                         "through.",
                                         percent(layer.gradient->saturated), layer.op)});
    }
  }
  return findings;
}

GradientText gradient_text(const AuditReport& report) {
  GradientText text;
  if (!report.gradient) return text;
  text.summary = gradient_summary(report);
  const std::vector<GradientFinding> findings = gradient_findings(report, 40);
  for (std::size_t i = 0; i < std::min(kMost, findings.size()); ++i) {
    text.findings.push_back(fmt::format("{}: {}", report.layers()[findings[i].layer].node, findings[i].text));
  }
  if (findings.size() > kMost) {
    text.findings.push_back(fmt::format("and {} more, see the JSON report", findings.size() - kMost));
  }
  if (text.findings.empty()) text.findings.emplace_back(kGradientHealthy);
  return text;
}

}  // namespace ember::report
