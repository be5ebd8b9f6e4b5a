#include "report/html_gradient.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "report/escape.hpp"
#include "report/gradient_text.hpp"
#include "report/html_figure.hpp"
#include "report/text_layout.hpp"

namespace ember::report {

namespace {

using namespace figure;
using Layers = std::span<const LayerReport>;

/// A layer that the drawing can show: a norm of 0 has no logarithm.
bool has_column(const LayerReport& layer) {
  return layer.gradient && std::isfinite(layer.gradient->norm) && layer.gradient->norm > 0.0;
}

std::string place_and_name(Layers layers, std::size_t i) {
  return fmt::format(R"(<a href="#layer-{}">layer {}</a> <span class="name">{}</span>)", i + 1, i + 1,
                     escaped_markup(layers[i].node));
}

std::string finding_items(const AuditReport& report) {
  // As many numbers as a few lines hold; the table of channels has them all.
  constexpr std::size_t kWidthOfNumbers = 400;
  std::string items;
  for (const GradientFinding& finding : gradient_findings(report, kWidthOfNumbers)) {
    items += fmt::format("<li>{}: {}</li>\n", place_and_name(report.layers(), finding.layer),
                         escaped_markup(finding.text));
  }
  return items.empty() ? fmt::format("<li>{}</li>", escaped_markup(kGradientHealthy)) : items;
}

/// Norms upwards on a logarithmic scale of whole decades, layers to the right.
struct Scales {
  double low = 0, high = 1;  ///< logarithms
  double pitch = 0;          ///< from layer to layer

  explicit Scales(Layers layers)
      : pitch((kWidth - kLeft - kRight) / static_cast<double>(std::max<std::size_t>(1, layers.size()))) {
    bool first = true;
    for (const LayerReport& layer : layers) {
      if (!has_column(layer)) continue;
      const double decade = std::log10(layer.gradient->norm);
      low = first ? std::floor(decade) : std::min(low, std::floor(decade));
      high = first ? std::ceil(decade) : std::max(high, std::ceil(decade));
      first = false;
    }
    high = std::max(high, low + 1);
  }

  [[nodiscard]] double x(std::size_t layer) const { return kLeft + pitch * static_cast<double>(layer); }
  [[nodiscard]] double y(double logarithm) const {
    return kHeight - kBelow - (logarithm - low) / (high - low) * (kHeight - kAbove - kBelow);
  }
};

/// Lines at powers of ten, as many as have room.
std::string levels(const Scales& scales) {
  constexpr double kMost = 6;
  const double step = std::ceil((scales.high - scales.low) / kMost);
  std::string drawn;
  for (double at = scales.low; at <= scales.high; at += step) {
    drawn += level(scales.y(at), "grid", fmt::format("{:g}", std::pow(10.0, at)));
  }
  return drawn;
}

/// The numbers of the layers, as many as have room.
std::string places(const Scales& scales, std::size_t layers) {
  constexpr std::size_t kMost = 12;
  std::size_t step = 1;
  for (const std::size_t digit : {2U, 5U, 10U, 20U, 50U, 100U, 200U, 500U, 1000U}) {
    if (layers / step > kMost) step = digit;
  }
  std::string drawn;
  for (std::size_t place = step; place <= layers; place += step) {
    drawn += label(scales.x(place - 1) + scales.pitch / 2, kHeight - kBelow + 15, "middle",
                   fmt::format("{}", place));
  }
  return drawn;
}

std::string columns_of(Layers layers, const Scales& scales) {
  constexpr double kLeastHeight = 1.5;
  const double gap = std::min(6.0, 0.25 * scales.pitch);
  std::string drawn;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerReport& layer = layers[i];
    if (!has_column(layer)) continue;
    const double height =
        std::max(kLeastHeight, kHeight - kBelow - scales.y(std::log10(layer.gradient->norm)));
    drawn += fmt::format(
        R"(<rect class="column{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>layer {}, {}: {:.3g}{}</title></rect>)",
        layer.gradient->vanishing ? " none" : "", scales.x(i) + gap / 2, kHeight - kBelow - height,
        scales.pitch - gap, height, i + 1, escaped_markup(layer.node), layer.gradient->norm,
        layer.gradient->vanishing ? ", vanishing" : "");
  }
  return drawn;
}

/// "from 0.0012 of layer 1 to 0.3 of layer 4".
std::string extent(Layers layers) {
  const LayerReport* least = nullptr;
  const LayerReport* most = nullptr;
  for (const LayerReport& layer : layers) {
    if (!has_column(layer)) continue;
    if (least == nullptr || layer.gradient->norm < least->gradient->norm) least = &layer;
    if (most == nullptr || layer.gradient->norm > most->gradient->norm) most = &layer;
  }
  if (least == nullptr) return "none above 0";
  return fmt::format("from {:.3g} of layer {} to {:.3g} of layer {}", least->gradient->norm,
                     least - layers.data() + 1, most->gradient->norm, most - layers.data() + 1);
}

std::string drawing(Layers layers) {
  const Scales scales(layers);
  return fmt::format(
      R"(<svg viewBox="0 0 {} {}" role="img" aria-label="A column for each layer, as high as the logarithm of its gradient's norm: {}. The table below has the numbers.">{}{}{}{}{}</svg>)",
      kWidth, kHeight, extent(layers), levels(scales), columns_of(layers, scales), axis(),
      places(scales, layers.size()), unit("layer"));
}

/// What the drawing cannot show by itself.
std::string legend(const AuditReport& report) {
  std::int64_t vanishing = 0, zero = 0, unknown = 0;
  for (const LayerReport& layer : report.layers()) {
    if (!layer.gradient) ++unknown;
    else if (layer.gradient->norm == 0.0) ++zero;
    else if (layer.gradient->vanishing) ++vanishing;
  }
  std::string text = "Of the loss, by a layer's values before the activation; logarithmic.";
  if (vanishing > 0) {
    text += fmt::format(" Red: below {:g} of the largest from there on to the loss.",
                        report.gradient->vanishing_below);
  }
  if (zero > 0) text += fmt::format(" {} without a column: no gradient at all.", grouped(zero));
  if (unknown > 0) text += fmt::format(" {} without a column: not known.", grouped(unknown));
  return escaped_markup(text);
}

std::string table(Layers layers) {
  const bool flat = std::ranges::any_of(
      layers, [](const LayerReport& layer) { return layer.gradient && layer.gradient->saturated > 0.0; });
  std::string rows;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string head = fmt::format(R"(<tr><th scope="row">{}</th>)", place_and_name(layers, i));
    if (!layers[i].gradient) {
      rows += fmt::format(R"({}<td colspan="{}">not known</td></tr>)", head, flat ? 4 : 3);
      continue;
    }
    const LayerGradient& gradient = *layers[i].gradient;
    rows += fmt::format(
        R"({}<td class="number">{:.3g}</td><td class="number">{:.2g}{}</td>{}<td class="number">{} of {}</td></tr>)",
        head, gradient.norm, gradient.ratio, gradient.vanishing ? ", vanishing" : "",
        flat ? fmt::format(R"(<td class="number">{}</td>)", percent(gradient.saturated)) : "",
        grouped(static_cast<std::int64_t>(without_gradient(layers[i]).size())),
        grouped(static_cast<std::int64_t>(layers[i].channels.size())));
  }
  return fmt::format(
      R"(<details><summary>As a table</summary><div class="table-frame" tabindex="0" role="region" aria-label="The gradient by layer"><table><thead><tr><th scope="col">layer</th><th scope="col" class="number">norm</th><th scope="col" class="number">of the largest from here on</th>{}<th scope="col" class="number">channels without</th></tr></thead><tbody>{}</tbody></table></div></details>)",
      flat ? R"(<th scope="col" class="number">values where it is flat</th>)" : "", rows);
}

}  // namespace

std::string gradient_html(const AuditReport& report) {
  if (!report.gradient) return {};
  const bool drawn = std::ranges::any_of(report.layers(),
                                         [](const LayerReport& layer) { return layer.gradient.has_value(); });
  return fmt::format(
      R"(<section id="gradient" aria-labelledby="gradient-title"><h2 id="gradient-title">Gradient</h2>
<p class="intro">{}</p>
<ul class="steps">{}</ul>
{}</section>
)",
      escaped_markup(gradient_summary(report)), finding_items(report),
      drawn
          ? fmt::format(
                R"(<div class="figures"><figure><figcaption>The gradient's norm by layer</figcaption><p>{}</p>{}{}</figure></div>)",
                legend(report), drawing(report.layers()), table(report.layers()))
          : "");
}

}  // namespace ember::report
