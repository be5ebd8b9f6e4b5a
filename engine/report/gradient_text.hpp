#pragma once

#include <string>
#include <vector>

#include <ember/audit.hpp>

namespace ember::report {

/// What a loss tells the layers: how well the network does first, then one line per thing that is wrong.
/// Empty without a gradient view.
struct GradientText {
  std::string summary;
  std::vector<std::string> findings;
};
GradientText gradient_text(const AuditReport& report);

}  // namespace ember::report
