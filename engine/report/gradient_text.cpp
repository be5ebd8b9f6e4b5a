#include "report/gradient_text.hpp"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include "report/text_layout.hpp"

namespace ember::report {

namespace {

/// Layers beyond these are left to the JSON report.
constexpr std::size_t kMost = 20;
/// A layer of which this share of positions is flat is said to be saturated.
constexpr double kSaturated = 0.5;

std::string without_gradient(const LayerReport& layer) {
  std::vector<std::int64_t> none;
  for (const ChannelReport& channel : layer.channels) {
    if (channel.gradient.samples > 0 && channel.gradient.samples_nonzero == 0) none.push_back(channel.index);
  }
  if (none.empty()) return "";
  if (none.size() == layer.channels.size())
    return fmt::format("{}: no sample brings a gradient to any of its {} channels.", layer.node, none.size());
  return fmt::format("{}: no sample brings a gradient to {} of {} channels ({}).", layer.node, none.size(),
                     layer.channels.size(), ranges(none, 40));
}

}  // namespace

GradientText gradient_text(const AuditReport& report) {
  GradientText text;
  if (!report.gradient) return text;
  const GradientReport& g = *report.gradient;
  text.summary = fmt::format(
      "Gradient of the {} of '{}', back-propagated from {} samples: mean loss {:.3g}. Accuracy {} ({} of "
      "{}).",
      g.loss, g.output, grouped(g.samples), g.mean_loss, percent(g.accuracy()), grouped(g.correct),
      grouped(g.labelled));
  std::size_t left_out = 0;
  const auto add = [&](std::string line) {
    if (text.findings.size() < kMost) text.findings.push_back(std::move(line));
    else ++left_out;
  };
  for (const LayerReport& layer : report.layers()) {
    if (!layer.gradient) continue;
    if (const std::string none = without_gradient(layer); !none.empty()) add(none);
    if (layer.gradient->vanishing && layer.gradient->norm > 0.0) {
      add(fmt::format(
          "{}: the gradient vanishes: its norm is {:.2g} of the largest from here on to the loss.",
          layer.node, layer.gradient->ratio));
    }
    if (layer.gradient->saturated >= kSaturated) {
      add(fmt::format("{}: {} of its values lie where {} is flat, which lets no gradient through.",
                      layer.node, percent(layer.gradient->saturated), layer.op));
    }
  }
  if (left_out > 0) text.findings.push_back(fmt::format("and {} more, see the JSON report", left_out));
  if (text.findings.empty()) {
    text.findings.emplace_back("Every channel gets a gradient, and no layer's vanishes.");
  }
  return text;
}

}  // namespace ember::report
