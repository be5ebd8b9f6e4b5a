#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

/// What drawings of the HTML page share that need no script.
namespace ember::report::figure {

// Drawings have the size of the histograms, so that their text is as large as theirs.
constexpr double kWidth = 440, kHeight = 220;
constexpr double kLeft = 50, kRight = 16, kAbove = 18, kBelow = 38;

inline std::string label(double x, double y, std::string_view anchor, std::string_view text) {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>)", x, y, anchor, text);
}

/// A line across, with what it stands for.
inline std::string level(double y, std::string_view kind, std::string_view text) {
  return fmt::format(R"(<line class="{}" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>)", kind, kLeft,
                     kWidth - kRight, y, y) +
         label(kLeft - 6, y + 4, "end", text);
}

/// The line that columns stand on.
inline std::string axis() {
  return fmt::format(R"(<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>)", kLeft, kWidth - kRight,
                     kHeight - kBelow, kHeight - kBelow);
}

/// What the numbers along the axis are.
inline std::string unit(std::string_view text) {
  return label((kLeft + kWidth - kRight) / 2, kHeight - 5, "middle", text);
}

}  // namespace ember::report::figure
