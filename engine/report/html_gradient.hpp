#pragma once

#include <string>

#include <ember/audit.hpp>

namespace ember::report {

/// The section on what a loss tells the layers: how well the network does, what is wrong with the gradient of
/// which layer, its norm by layer as a drawing, and the numbers as a table. Empty without a gradient view.
/// Needs no script.
std::string gradient_html(const AuditReport& report);

}  // namespace ember::report
