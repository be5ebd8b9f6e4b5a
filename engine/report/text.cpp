#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <ember/audit.hpp>

#include "report/advice.hpp"
#include "report/cause_text.hpp"
#include "report/discovery_text.hpp"
#include "report/gradient_text.hpp"
#include "report/text_layout.hpp"

namespace ember {

namespace {

using namespace report;

/// How verdicts look, worst first: what fills a layer's bar, and the colour of both.
struct Style {
  Verdict verdict;
  std::string_view fill;
  std::string_view color;
};
constexpr std::array<Style, 9> kStyles = {{{Verdict::ProvedDead, "█", kRed},
                                           {Verdict::Silent, "█", kRed},
                                           {Verdict::Refuted, "▓", kYellow},
                                           {Verdict::Rare, "▓", kYellow},
                                           {Verdict::Dormant, "▓", kYellow},
                                           {Verdict::Constant, "▒", kYellow},
                                           {Verdict::Saturated, "▒", kYellow},
                                           {Verdict::AlwaysOn, "░", kCyan},
                                           {Verdict::Healthy, "·", kGreen}}};

class Writer {
 public:
  Writer(const AuditReport& report, const TextReportOptions& options)
      : report_(report), page_(options.width, options.color) {}

  std::string write() {
    head();
    findings();
    proof();
    layers();
    meanings();
    discovery();
    gradient();
    causes();
    next();
    notes();
    return page_.take();
  }

 private:
  void head() {
    page_.line("{}", page_.paint(kBold, report_.model));
    page_.paragraph(
        0, fmt::format("{} samples of {}, run with {}", grouped(report_.samples), report_.data, report_.isa));
    page_.line("");
    std::string found;
    for (const Style& style : kStyles) {
      const std::int64_t n = report_.count(style.verdict);
      if (n == 0) continue;
      found +=
          fmt::format("{}{}", found.empty() ? "" : ", ",
                      page_.paint(style.color, fmt::format("{} {}", grouped(n), to_string(style.verdict))));
    }
    const std::int64_t channels = report_.channels();
    page_.paragraph(
        0, fmt::format("{} {} in {} {}{}{}", grouped(channels), channels == 1 ? "channel" : "channels",
                       report_.layers().size(), report_.layers().size() == 1 ? "layer" : "layers",
                       found.empty() ? "" : ": ", found));
  }

  /// Before anything about channels.
  void findings() {
    if (report_.findings.empty()) return;
    page_.line("");
    for (const Finding& finding : report_.findings) {
      page_.item(page_.paint(kRed, "!"), 1, finding_text(finding));
    }
  }

  /// Per layer and cause one item, the first channel's numbers standing for all.
  void causes() {
    bool first = true;
    std::size_t left_out = 0;
    std::size_t shown = 0;
    for (const LayerReport& layer : report_.layers()) {
      std::map<Cause, std::vector<std::int64_t>> by_cause;
      for (const ChannelReport& channel : layer.channels) {
        if (channel.explanation.cause != Cause::None)
          by_cause[channel.explanation.cause].push_back(channel.index);
      }
      for (const auto& [cause, channels] : by_cause) {
        constexpr std::size_t kMost = 20;
        if (shown++ >= kMost) {
          ++left_out;
          continue;
        }
        if (std::exchange(first, false)) {
          page_.line("");
          page_.line("{}", page_.paint(kBold, fmt::format("Why (counterfactuals run on {} samples)",
                                                          grouped(report_.explain_samples))));
        }
        const ChannelReport& example = layer.channels[static_cast<std::size_t>(channels.front())];
        const std::string whose =
            channels.size() == 1 ? fmt::format("channel {}", channels.front())
                                 : fmt::format("channels {}; of {}", ranges(channels, 40), channels.front());
        page_.item("-", 1,
                   fmt::format("{} {}: {}: {}.", layer.node, whose, to_string(cause),
                               cause_text(example.explanation)));
      }
    }
    if (left_out > 0) page_.item("-", 1, fmt::format("and {} more, see the JSON report", left_out));
  }

  /// What was proved about which inputs.
  void proof() {
    if (!report_.proof && report_.count(Verdict::ProvedDead) == 0) return;
    page_.line("");
    if (!report_.proof) {
      page_.paragraph(0, "What is proved here holds for any input whatever.");
      return;
    }
    const ProofReport& proof = *report_.proof;
    std::string text = fmt::format(
        "Proofs and witnesses are about inputs from {:g} to {:g}, by {}{}.", proof.lower, proof.upper,
        proof.domain,
        proof.from_data ? ": the smallest and largest value of each input element in these samples. "
                          "They say nothing about inputs beyond them"
                        : "");
    if (proof.samples_outside > 0) {
      text += fmt::format(" {} of the samples lie outside", grouped(proof.samples_outside));
      text += proof.channels_contradicted > 0 ? fmt::format(", and fire {} channels that cannot fire inside.",
                                                            proof.channels_contradicted)
                                              : ".";
    }
    std::int64_t always = 0;
    for (const LayerReport& layer : report_.layers()) {
      always += std::ranges::count_if(layer.channels, [](const ChannelReport& c) {
        return c.verdict == Verdict::AlwaysOn && c.proof != Proof::None;
      });
    }
    if (always > 0) text += fmt::format(" {} of those always on are proved to be.", grouped(always));
    if (proof.always_on_refuted > 0) {
      text += fmt::format(" {} of those always on are switched off by some input of the domain.",
                          grouped(proof.always_on_refuted));
    }
    if (!proof.complete) {
      text +=
          fmt::format(" The time limit ended the search after {:.0f} s: more may be found with a longer one.",
                      proof.seconds);
    }
    page_.paragraph(0, text);
  }

  /// How bad a layer is: shares of its channels by verdict, worst verdict first.
  static std::array<double, kStyles.size()> shares(const LayerReport& layer) {
    std::array<double, kStyles.size()> result{};
    const auto channels = static_cast<double>(std::max<std::size_t>(1, layer.channels.size()));
    for (std::size_t i = 0; i < kStyles.size(); ++i) {
      result[i] = static_cast<double>(layer.count(kStyles[i].verdict)) / channels;
    }
    return result;
  }

  void layers() {
    if (report_.layers().empty()) return;
    page_.line("");
    std::vector<const LayerReport*> sorted;
    for (const LayerReport& layer : report_.layers()) sorted.push_back(&layer);
    std::ranges::stable_sort(
        sorted, [](const LayerReport* a, const LayerReport* b) { return shares(*a) > shares(*b); });
    std::size_t name_width = 5;
    for (const LayerReport* layer : sorted) name_width = std::max(name_width, columns(layer->node));
    name_width = std::min(name_width, static_cast<std::size_t>(std::max(20, page_.width() / 3)));
    for (const LayerReport* layer : sorted) write_layer(*layer, name_width);
  }

  void write_layer(const LayerReport& layer, std::size_t name_width) {
    page_.item(fmt::format("{} {}", fitted(layer.node, name_width), bar(layer)),
               name_width + 3 + static_cast<std::size_t>(cells()), findings(layer));
    for (const Verdict verdict : {Verdict::ProvedDead, Verdict::Silent, Verdict::Refuted, Verdict::Rare,
                                  Verdict::Dormant, Verdict::Constant, Verdict::Saturated}) {
      std::vector<std::int64_t> indices;
      for (const ChannelReport& channel : layer.channels) {
        if (channel.verdict == verdict) indices.push_back(channel.index);
      }
      if (indices.empty()) continue;
      page_.line("    {}: {}", to_string(verdict),
                 ranges(indices, static_cast<std::size_t>(std::max(20, page_.width() - 20))));
    }
  }

  /// How wide a layer's bar is: the words beside it need room, too.
  [[nodiscard]] std::int64_t cells() const { return page_.width() < 80 ? 12 : 24; }

  /// As many cells as the bar is wide, shared among verdicts; a verdict that occurs gets a cell at least.
  std::string bar(const LayerReport& layer) {
    const auto channels = static_cast<std::int64_t>(layer.channels.size());
    const std::int64_t width = cells();
    std::string drawn;
    std::int64_t used = 0;
    for (const Style& style : kStyles) {
      const std::int64_t n = layer.count(style.verdict);
      if (n == 0) continue;
      const std::int64_t share = std::max<std::int64_t>(1, (n * width + channels / 2) / channels);
      const bool last = style.verdict == Verdict::Healthy;
      const std::int64_t wanted = last ? width - used : std::min(share, width - used);
      drawn += page_.paint(style.color, repeated(style.fill, wanted));
      used += wanted;
    }
    return "▕" + drawn + repeated(" ", width - used) + "▏";
  }

  static std::string findings(const LayerReport& layer) {
    std::string text = fmt::format("{} {}", layer.channels.size(), layer.op);
    for (const Style& style : kStyles) {
      const std::int64_t n = layer.count(style.verdict);
      if (n == 0 || style.verdict == Verdict::Healthy) continue;
      text += fmt::format(", {} {}", n, to_string(style.verdict));
    }
    return text;
  }

  void meanings() {
    bool first = true;
    for (const Style& style : kStyles) {
      if (report_.count(style.verdict) == 0 || style.verdict == Verdict::Healthy) continue;
      if (std::exchange(first, false)) page_.line("");
      page_.item(fmt::format("{} {:<11}", page_.paint(style.color, style.fill), to_string(style.verdict)), 13,
                 meaning_in(report_, style.verdict));
    }
  }

  /// Whether there were enough samples.
  void discovery() {
    const std::string text = discovery_text(report_.discovery);
    if (text.empty()) return;
    page_.line("");
    page_.paragraph(0, "Enough data? " + text);
  }

  void gradient() {
    const GradientText text = gradient_text(report_);
    if (text.summary.empty()) return;
    page_.line("");
    page_.paragraph(0, text.summary);
    for (const std::string& finding : text.findings) page_.item("-", 1, finding);
  }

  void next() {
    const std::vector<std::string> steps = next_steps(report_);
    if (steps.empty()) return;
    page_.line("");
    page_.line("{}", page_.paint(kBold, "What to do next"));
    for (const std::string& step : steps) page_.item("-", 1, step);
  }

  void notes() {
    if (report_.notes.empty()) return;
    page_.line("");
    page_.line("{}", page_.paint(kBold, "Notes"));
    for (const std::string& note : report_.notes) page_.item("-", 1, note);
  }

  const AuditReport& report_;
  Page page_;
};

}  // namespace

std::string to_text(const AuditReport& report, const TextReportOptions& options) {
  return Writer(report, options).write();
}

}  // namespace ember
