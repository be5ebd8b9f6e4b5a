#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ember/audit.hpp>

namespace ember::report {

/// What is wrong with the gradient of one layer.
struct GradientFinding {
  std::size_t layer = 0;  ///< its place in the report
  std::string text;       ///< begins small: it follows the layer's name
};

/// How well the network does, in one sentence. The report has a gradient view.
std::string gradient_summary(const AuditReport& report);
/// In the network's order. `width`: columns for the numbers of the channels without a gradient.
std::vector<GradientFinding> gradient_findings(const AuditReport& report, std::size_t width);
/// Said where nothing is wrong.
inline constexpr const char* kGradientHealthy = "Every channel gets a gradient, and no layer's vanishes.";

/// What a loss tells the layers: how well the network does first, then one line per thing that is wrong.
/// Empty without a gradient view.
struct GradientText {
  std::string summary;
  std::vector<std::string> findings;
};
GradientText gradient_text(const AuditReport& report);

/// The channels of a layer that no sample brings a gradient to.
std::vector<std::int64_t> without_gradient(const LayerReport& layer);

}  // namespace ember::report
