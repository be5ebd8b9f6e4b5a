#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <ember/report.hpp>

#include "core/sha256.hpp"
#include "report/advice.hpp"
#include "report/embedded.hpp"
#include "report/escape.hpp"
#include "report/html_causes.hpp"
#include "report/html_data.hpp"
#include "report/html_discovery.hpp"
#include "report/html_gradient.hpp"
#include "report/text_layout.hpp"
#include "report/verdict_text.hpp"

// The page is whole without its script: a summary, the layers, and what to do. The script adds what is drawn
// or answers to the reader.

namespace ember {

namespace {

using namespace report;

/// Puts values in the places of a template, which are marked {{name}}. What a value holds is not looked at.
std::string filled(std::string_view page, const std::map<std::string_view, std::string>& values) {
  std::string result;
  for (std::size_t open = page.find("{{"); open != std::string_view::npos; open = page.find("{{")) {
    const std::size_t close = page.find("}}", open);
    result += page.substr(0, open);
    result += values.at(page.substr(open + 2, close - open - 2));
    page.remove_prefix(close + 2);
  }
  result += page;
  return result;
}

/// The SHA-256 of a text in base64, by which the page's policy knows its own script and style.
std::string policy_hash(std::string_view text) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string hex = sha256_hex(std::as_bytes(std::span(text)));
  std::string bits;
  for (const char c : hex) bits += fmt::format("{:04b}", c <= '9' ? c - '0' : c - 'a' + 10);
  bits.resize((bits.size() + 5) / 6 * 6, '0');
  std::string result;
  for (std::size_t at = 0; at < bits.size(); at += 6) {
    result += kAlphabet[std::stoul(bits.substr(at, 6), nullptr, 2)];
  }
  return result + std::string((4 - result.size() % 4) % 4, '=');
}

std::string counted(std::int64_t n, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", grouped(n), n == 1 ? one : many);
}

/// "silent", "always on".
std::string words_of(Verdict verdict) {
  std::string words = to_string(verdict);
  std::ranges::replace(words, '_', ' ');
  return words;
}

/// "38 silent, 1 rare", worst first.
template <class Counted>
std::string findings(const Counted& counted, bool with_healthy) {
  std::string text;
  for (const VerdictText& verdict : kVerdictTexts) {
    const std::int64_t n = counted.count(verdict.verdict);
    if (n == 0 || (verdict.verdict == Verdict::Healthy && !with_healthy)) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", grouped(n), words_of(verdict.verdict));
  }
  return text;
}

/// A bar of verdicts, worst first. What occurs is seen, however rare.
template <class Counted>
std::string bar(const Counted& counted, std::int64_t channels) {
  constexpr double kWidth = 1000;
  constexpr double kLeast = 12;
  std::array<double, kVerdictTexts.size()> widths{};
  double used = 0;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const auto n = static_cast<double>(counted.count(kVerdictTexts[i].verdict));
    if (n > 0) widths[i] = std::max(kLeast, kWidth * n / static_cast<double>(channels));
    used += widths[i];
  }
  if (used > 0) *std::ranges::max_element(widths) -= used - kWidth;
  std::string rects;
  double at = 0;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    if (widths[i] <= 0) continue;
    rects += fmt::format(R"(<rect class="{}" x="{:.1f}" width="{:.1f}" height="10"/>)",
                         to_string(kVerdictTexts[i].verdict), at, widths[i]);
    at += widths[i];
  }
  return fmt::format(
      R"(<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>)",
      channels == 0 ? "no channels" : findings(counted, true), rects);
}

std::string headline(const AuditReport& report) {
  const std::int64_t silent =
      report.count(Verdict::Silent) + report.count(Verdict::ProvedDead) + report.count(Verdict::Refuted);
  const std::int64_t channels = report.channels();
  if (channels == 0) return "No channel could be watched.";
  if (silent == 0)
    return fmt::format("None of {} is dead or silent.", counted(channels, "channel", "channels"));
  return fmt::format("{} of {} never fired.", grouped(silent), counted(channels, "channel", "channels"));
}

std::string verdict_list(const AuditReport& report) {
  std::string items;
  for (const VerdictText& text : kVerdictTexts) {
    const std::int64_t n = report.count(text.verdict);
    if (n == 0) continue;
    const double share = static_cast<double>(n) / static_cast<double>(report.channels());
    items += fmt::format(
        R"(<li class="{}"><p class="count"><b>{}</b> <a href="#channels" data-verdict="{}">{}</a> <span class="share">{:.3g}%</span></p><p>The channel {}</p></li>)",
        to_string(text.verdict), grouped(n), to_string(text.verdict), words_of(text.verdict), 100 * share,
        escaped_markup(meaning_in(report, text.verdict)));
  }
  return items;
}

std::string items_of(const std::vector<std::string>& texts) {
  std::string items;
  for (const std::string& text : texts) items += fmt::format("<li>{}</li>", escaped_markup(text));
  return items;
}

/// What feeds a layer, by place, each a link.
std::string sources(const LayerReport& layer) {
  constexpr std::size_t kShown = 6;
  std::string text;
  if (layer.reads_input) text = R"(<a href="#input">input</a>)";
  for (std::size_t i = 0; i < std::min(kShown, layer.predecessors.size()); ++i) {
    text += fmt::format(R"({}<a href="#layer-{}">{}</a>)", text.empty() ? "" : ", ",
                        layer.predecessors[i] + 1, layer.predecessors[i] + 1);
  }
  if (layer.predecessors.size() > kShown) {
    text += fmt::format(" and {} more", layer.predecessors.size() - kShown);
  }
  return text.empty() ? text : "from " + text;
}

std::string layer_list(const AuditReport& report) {
  std::string items = R"(<li id="input" class="end"><span class="name">input</span></li>)";
  for (std::size_t i = 0; i < report.layers().size(); ++i) {
    const LayerReport& layer = report.layers()[i];
    const auto channels = static_cast<std::int64_t>(layer.channels.size());
    items += fmt::format(
        R"(<li id="layer-{}"><span class="place">{}</span><span class="name">{}</span><span class="what">{}, {}</span>)"
        R"(<span class="from">{}</span><span class="share">{}</span><span class="found">{}</span></li>)"
        "\n",
        i + 1, i + 1, escaped_markup(layer.node), escaped_markup(layer.op), grouped(channels), sources(layer),
        bar(layer, channels), findings(layer, false));
  }
  return items + R"(<li id="output" class="end"><span class="name">output</span></li>)";
}

std::string provenance(const AuditReport& report) {
  std::string text;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) text += fmt::format("<dt>{}</dt><dd>{}</dd>", name, escaped_markup(value));
  };
  add("Model", report.model);
  add("SHA-256 of the model", report.model_hash);
  add("Data", report.data);
  add("SHA-256 of the data", report.data_hash);
  add("Instruction set", report.isa);
  add("Confidence", fmt::format("{:g}%, of all rate bounds together", 100 * report.confidence));
  add("Written by", fmt::format("ember {}", EMBER_VERSION));
  return text;
}

std::string facts(const AuditReport& report) {
  return fmt::format("{} in {}, watched on {} of {}", counted(report.channels(), "channel", "channels"),
                     counted(static_cast<std::int64_t>(report.layers().size()), "layer", "layers"),
                     counted(report.samples, "sample", "samples"), escaped_markup(report.data));
}

/// A part of the script, or the style, for one page: lines that are marked are those of pages with a gradient
/// view.
std::string lines_of(std::string_view part, bool with_gradients) {
  constexpr std::array<std::string_view, 2> kMarks = {"  // with gradients", "  /* with gradients */"};
  std::string lines;
  while (!part.empty()) {
    const std::size_t end = std::min(part.find('\n'), part.size() - 1) + 1;
    const std::string_view line = part.substr(0, end);
    part.remove_prefix(end);
    const std::size_t mark = std::min(line.find(kMarks[0]), line.find(kMarks[1]));
    if (mark == std::string_view::npos) lines += line;
    else if (with_gradients) lines.append(line.substr(0, mark)).append("\n");
  }
  return lines;
}

std::string script_of(const AuditReport& report) {
  const bool gradients = report.gradient.has_value();
  std::string script = "(() => {\n\"use strict\";\n";
  for (const std::string_view part : {kHtmlChannels, gradients ? kHtmlGradient : "", kHtmlNetwork, kHtmlMap,
                                      kHtmlHistograms, kHtmlTable, kHtmlStart}) {
    script += lines_of(part, gradients);
  }
  return script + "})();\n";
}

}  // namespace

std::string to_html(const AuditReport& report) {
  const std::string script = script_of(report);
  const std::string style = lines_of(kHtmlStyle, report.gradient.has_value());
  std::string nav;
  const auto link = [&](std::string_view id, std::string_view title) {
    nav += fmt::format("<a href=\"#{}\">{}</a> ", id, title);
  };
  link("summary", "Summary");
  link("network", "Network");
  const std::string causes = causes_html(report);
  if (!causes.empty()) link("causes", "Causes");
  const std::string gradient = gradient_html(report);
  if (!gradient.empty()) link("gradient", "Gradient");
  link("map", "Every channel");
  link("distribution", "How often they fire");
  const std::string discovery = discovery_html(report.discovery);
  if (!discovery.empty()) link("discovery", "Enough data?");
  link("channels", "Table");
  const std::vector<std::string> steps = next_steps(report);
  std::map<std::string_view, std::string> values = {
      {"version", EMBER_VERSION},
      {"script-hash", policy_hash(script)},
      {"style-hash", policy_hash(style)},
      {"style", style},
      {"model", escaped_markup(report.model.substr(report.model.find_last_of('/') + 1))},
      {"headline", headline(report)},
      {"facts", facts(report)},
      {"alarms", alarms_html(report)},
      {"total-bar", bar(report, report.channels())},
      {"verdicts", verdict_list(report)},
      {"steps", steps.empty()
                    ? ""
                    : fmt::format("<h3>What to do next</h3><ol class=\"steps\">{}</ol>", items_of(steps))},
      {"layers", layer_list(report)},
      {"causes", causes},
      {"gradient", gradient},
      {"gradient-mode",
       report.gradient ? "<option value=\"gradient\">share of samples that bring it a gradient</option>\n"
                       : ""},
      {"discovery", discovery},
      {"notes",
       report.notes.empty()
           ? ""
           : fmt::format("<section id=\"notes\" aria-labelledby=\"notes-title\"><h2 "
                         "id=\"notes-title\">What was not checked</h2><ul class=\"steps\">{}</ul></section>",
                         items_of(report.notes))},
      {"provenance", provenance(report)},
      {"data", page_data(report)},
  };
  if (!report.notes.empty()) link("notes", "Not checked");
  values["nav"] = nav;
  values["script"] = script;
  return filled(kHtmlPage, values);
}

}  // namespace ember
