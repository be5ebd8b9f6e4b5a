#include "report/html_causes.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include <fmt/format.h>

#include "report/cause_text.hpp"
#include "report/escape.hpp"
#include "report/text_layout.hpp"

namespace ember::report {

namespace {

/// How many of a layer's channels a cause explains.
struct Place {
  std::size_t layer = 0;
  std::int64_t channels = 0;
};

/// The channels that one cause explains.
struct Explained {
  std::int64_t channels = 0;
  std::vector<Place> places;
  const LayerReport* layer = nullptr;      ///< of the example
  const ChannelReport* example = nullptr;  ///< the one whose counterfactual fires most
};

std::map<Cause, Explained> by_cause(const AuditReport& report) {
  std::map<Cause, Explained> causes;
  for (std::size_t i = 0; i < report.layers().size(); ++i) {
    for (const ChannelReport& channel : report.layers()[i].channels) {
      if (channel.explanation.cause == Cause::None) continue;
      Explained& explained = causes[channel.explanation.cause];
      ++explained.channels;
      if (explained.places.empty() || explained.places.back().layer != i) explained.places.push_back({i, 0});
      ++explained.places.back().channels;
      if (explained.example == nullptr ||
          channel.explanation.counterfactual.rate() > explained.example->explanation.counterfactual.rate()) {
        explained.layer = &report.layers()[i];
        explained.example = &channel;
      }
    }
  }
  return causes;
}

/// "12 in layer 3, 4 in layer 5", the worst layers first, each a link.
std::string where(Explained explained) {
  constexpr std::size_t kShown = 4;
  std::ranges::stable_sort(explained.places, std::ranges::greater{}, &Place::channels);
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, explained.places.size()); ++i) {
    const auto& [layer, channels] = explained.places[i];
    text += fmt::format(R"({}{} in <a href="#layer-{}">layer {}</a>)", i > 0 ? ", " : "", grouped(channels),
                        layer + 1, layer + 1);
  }
  if (explained.places.size() > kShown) {
    text += fmt::format(" and others in {} more", explained.places.size() - kShown);
  }
  return text;
}

std::string row(Cause cause, const Explained& explained) {
  std::string name = to_string(cause);
  std::ranges::replace(name, '_', ' ');
  return fmt::format(
      R"(<tr><th scope="row">{}</th><td class="number">{}</td><td>{}</td><td>Channel {} of <span class="name">{}</span>: {}.</td><td>{}</td></tr>)",
      name, grouped(explained.channels), where(explained), explained.example->index,
      escaped_markup(explained.layer->node), escaped_markup(cause_text(explained.example->explanation)),
      escaped_markup(remedy_text(explained.example->explanation.remedy)));
}

}  // namespace

std::string alarms_html(const AuditReport& report) {
  std::string alarms;
  for (const Finding& finding : report.findings) {
    alarms += fmt::format("<p class=\"alarm\">{}</p>\n", escaped_markup(finding_text(finding)));
  }
  return alarms;
}

std::string causes_html(const AuditReport& report) {
  std::string rows;
  for (const auto& [cause, explained] : by_cause(report)) rows += row(cause, explained);
  if (rows.empty()) return rows;
  return fmt::format(
      R"(<section id="causes" aria-labelledby="causes-title"><h2 id="causes-title">Why they do not fire</h2>
<p class="intro">Each channel with a finding has the first cause that holds, and a counterfactual: what the network did with that one change, run on {} samples.</p>
<div class="table-frame" tabindex="0" role="region" aria-label="Causes"><table class="causes"><thead><tr><th scope="col">Cause</th><th scope="col" class="number">Channels</th><th scope="col">Where</th><th scope="col">An example and its counterfactual</th><th scope="col">What to do</th></tr></thead><tbody>{}</tbody></table></div></section>
)",
      grouped(report.explain_samples), rows);
}

}  // namespace ember::report
