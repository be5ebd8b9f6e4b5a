#pragma once

#include <string>

#include <ember/audit.hpp>

namespace ember::report {

/// The section on whether there were enough samples: sentences, the discovery curve as a drawing, and its
/// numbers as a table. Empty when there is no curve. Needs no script.
std::string discovery_html(const Discovery& discovery);

}  // namespace ember::report
