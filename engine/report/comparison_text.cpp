#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include <ember/compare.hpp>

#include "report/text_layout.hpp"

namespace ember {

namespace {

using namespace report;

struct Style {
  Change change;
  std::string_view color;
  std::string_view words;  ///< after a number
};
/// In the order in which they are shown.
constexpr std::array<Style, 5> kStyles = {{{Change::NewlyUnhealthy, kRed, "newly unhealthy"},
                                           {Change::Recovered, kGreen, "recovered"},
                                           {Change::Other, kYellow, "with another verdict"},
                                           {Change::Added, kCyan, "added"},
                                           {Change::Removed, kCyan, "removed"}}};

/// "healthy → silent".
std::string transition(const ChannelChange& change) {
  if (!change.before) return fmt::format("new, {}", to_string(*change.after));
  if (!change.after) return fmt::format("removed, was {}", to_string(*change.before));
  return fmt::format("{} → {}", to_string(*change.before), to_string(*change.after));
}

/// As it is, unless it takes more than `width` columns.
std::string shortened(const std::string& text, int width) {
  const auto most = static_cast<std::size_t>(std::max(width, 20));
  return fitted(text, std::min(most, columns(text)));
}

class Writer {
 public:
  Writer(const AuditComparison& comparison, const TextReportOptions& options)
      : comparison_(comparison), page_(options.width, options.color) {}

  std::string write() {
    audit("before", comparison_.before);
    audit("after", comparison_.after);
    page_.line("");
    summary();
    for (const LayerComparison& layer : comparison_.layers) {
      if (!layer.changes.empty()) write_layer(layer);
    }
    list("Layers added", comparison_.added);
    list("Layers removed", comparison_.removed);
    if (!comparison_.notes.empty()) {
      page_.line("");
      page_.line("{}", page_.paint(kBold, "Notes"));
      for (const std::string& note : comparison_.notes) page_.item("-", 1, note);
    }
    return page_.take();
  }

 private:
  void audit(std::string_view which, const ComparedAudit& of) {
    page_.line("{:<6} {}", which, page_.paint(kBold, shortened(of.model, page_.width() - 7)));
    page_.paragraph(7, fmt::format("{} samples of {}: {} of {} channels unhealthy", grouped(of.samples),
                                   of.data, grouped(of.unhealthy), grouped(of.channels)));
  }

  void summary() {
    std::string text;
    for (const Style& style : kStyles) {
      const std::int64_t n = comparison_.count(style.change);
      if (n == 0) continue;
      text += fmt::format("{}{}", text.empty() ? "" : ", ",
                          page_.paint(style.color, fmt::format("{} {}", grouped(n), style.words)));
    }
    page_.line("{}", text.empty() ? "Every channel has the verdict it had." : "Channels: " + text);
  }

  void write_layer(const LayerComparison& layer) {
    page_.line("");
    std::string about = fmt::format("{} {}", layer.channels_after, layer.op);
    if (layer.channels_before != layer.channels_after) {
      about += fmt::format(", {} before", layer.channels_before);
    }
    if (layer.weights_changed > 0) about += fmt::format(", weights of {} changed", layer.weights_changed);
    if (layer.before_node != layer.after_node) {
      about += fmt::format(", was {}", shortened(layer.before_node, page_.width() / 3));
    }
    const std::string name = shortened(layer.after_node, page_.width() / 2);
    page_.item(page_.paint(kBold, name), columns(name), about);
    for (const Style& style : kStyles) changes(layer, style);
  }

  /// The channels of one kind of change, grouped by what they were and are.
  void changes(const LayerComparison& layer, const Style& style) {
    std::map<std::tuple<std::optional<Verdict>, std::optional<Verdict>>, std::vector<const ChannelChange*>>
        groups;
    for (const ChannelChange& change : layer.changes) {
      if (change.change == style.change) groups[{change.after, change.before}].push_back(&change);
    }
    for (const auto& [verdicts, members] : groups) {
      std::vector<std::int64_t> indices;
      for (const ChannelChange* change : members) {
        indices.push_back(change->after_index ? *change->after_index : *change->before_index);
      }
      std::ranges::sort(indices);
      const std::string title = transition(*members.front());
      const auto room = static_cast<std::size_t>(std::max(20, page_.width() - 12)) - columns(title);
      page_.line("    {}: {}", page_.paint(style.color, title),
                 ranges(indices, std::max<std::size_t>(room, 20)));
    }
  }

  void list(std::string_view title, const std::vector<LayerOnce>& layers) {
    if (layers.empty()) return;
    page_.line("");
    page_.line("{}", page_.paint(kBold, title));
    for (const LayerOnce& layer : layers) {
      std::string text =
          fmt::format("{} ({} {}", shortened(layer.node, page_.width() / 2), layer.channels, layer.op);
      if (!layer.unhealthy.empty()) text += fmt::format(", {} unhealthy", layer.unhealthy.size());
      page_.item("-", 1, text + ")");
    }
  }

  const AuditComparison& comparison_;
  Page page_;
};

}  // namespace

std::string to_text(const AuditComparison& comparison, const TextReportOptions& options) {
  return Writer(comparison, options).write();
}

}  // namespace ember
