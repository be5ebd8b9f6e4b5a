#include "report/html_discovery.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "report/discovery_text.hpp"
#include "report/html_figure.hpp"
#include "report/text_layout.hpp"

namespace ember::report {

namespace {

using namespace figure;

/// Channels upwards, trials to the right, these on a logarithmic scale: most wake early.
struct Scales {
  double channels = 1, decades = 1;

  explicit Scales(const Discovery& d)
      : channels(static_cast<double>(d.channels)),
        decades(d.trials > 1 ? std::log10(static_cast<double>(d.trials)) : 1) {}

  [[nodiscard]] double x(std::int64_t trials) const {
    return kLeft + std::log10(static_cast<double>(trials)) / decades * (kWidth - kLeft - kRight);
  }
  [[nodiscard]] double y(std::int64_t fired) const {
    return kHeight - kBelow - static_cast<double>(fired) / channels * (kHeight - kAbove - kBelow);
  }
};

/// Lines at about three round counts, and one at all channels there are.
std::string levels(const Scales& scales, std::int64_t channels) {
  constexpr double kApart = 13;  // a line of text
  const double rough = std::max(1.0, static_cast<double>(channels) / 3);
  const auto unit = static_cast<std::int64_t>(std::pow(10, std::floor(std::log10(rough))));
  std::int64_t step = unit;
  for (const std::int64_t digit : {2, 5, 10}) {
    if (static_cast<double>(step) < rough) step = digit * unit;
  }
  std::string drawn = level(scales.y(channels), "limit", grouped(channels));
  for (std::int64_t at = step; at < channels; at += step) {
    if (scales.y(at) - scales.y(channels) >= kApart) drawn += level(scales.y(at), "grid", grouped(at));
  }
  return drawn;
}

/// 1, 10, 100, … and the last, as far as their numbers have room.
std::string times(const Scales& scales, std::int64_t last) {
  constexpr double kDigit = 7;  // of a number's width
  const auto mark = [&](std::int64_t trials) {
    return label(scales.x(trials), kHeight - kBelow + 15, trials == 1 ? "middle" : "end", grouped(trials));
  };
  const double room =
      last == 1 ? kWidth : scales.x(last) - kDigit * static_cast<double>(grouped(last).size() + 1);
  std::string drawn = mark(last);
  for (std::int64_t trials = 1; trials < last; trials *= 10) {
    if (scales.x(trials) < room) drawn += mark(trials);
    if (trials > last / 10) break;
  }
  return drawn;
}

std::string drawing(const Discovery& d, std::string_view trial) {
  const Scales scales(d);
  std::string path, points;
  for (const Discovery::Point& point : d.curve) {
    const double x = scales.x(point.trials);
    const double y = scales.y(point.fired);
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", x, y);
    points += fmt::format(
        R"(<circle class="point" cx="{:.1f}" cy="{:.1f}" r="3"><title>{} of {} after {} {}{}</title></circle>)",
        x, y, grouped(point.fired), grouped(d.channels), grouped(point.trials), trial,
        point.trials == 1 ? "" : "s");
  }
  const Discovery::Point& first = d.curve.front();
  return fmt::format(
      R"(<svg viewBox="0 0 {} {}" role="img" aria-label="A curve that rises from {} of {} channels after the first {} to {} after {} {}s. The table below has the numbers.">{}{}{}{}<polyline class="curve" points="{}"/>{}</svg>)",
      kWidth, kHeight, grouped(first.fired), grouped(d.channels), trial, grouped(d.fired), grouped(d.trials),
      trial, levels(scales, d.channels), axis(), times(scales, d.trials),
      unit(fmt::format("{}s, logarithmic", trial)), path, points);
}

std::string table(const Discovery& d, std::string_view trial) {
  std::string rows;
  std::int64_t before = 0;
  for (const Discovery::Point& point : d.curve) {
    rows += fmt::format(
        R"(<tr><th scope="row" class="number">{}</th><td class="number">{}</td><td class="number">{}</td></tr>)",
        grouped(point.trials), grouped(point.fired), grouped(point.fired - before));
    before = point.fired;
  }
  return fmt::format(
      R"(<details><summary>As a table</summary><table><thead><tr><th scope="col" class="number">after {}s</th><th scope="col" class="number">channels had fired</th><th scope="col" class="number">since the row before</th></tr></thead><tbody>{}</tbody></table></details>)",
      trial, rows);
}

}  // namespace

std::string discovery_html(const Discovery& d) {
  const std::string sentences = discovery_text(d);
  if (sentences.empty() || d.curve.empty()) return {};
  const std::string_view trial = d.by_group ? "group" : "sample";
  return fmt::format(
      R"(<section id="discovery" aria-labelledby="discovery-title"><h2 id="discovery-title">Enough data?</h2>
<p class="intro">{}</p>
<div class="figures"><figure><figcaption>Channels that had fired after so many {}s</figcaption><p>Dashed: all {} that can be silent.</p>{}{}</figure></div></section>
)",
      sentences, trial, grouped(d.channels), drawing(d, trial), table(d, trial));
}

}  // namespace ember::report
