#pragma once

#include <string>

#include <ember/audit.hpp>

namespace ember::report {

/// Whether there were enough samples, in sentences; empty when no channel could be silent.
std::string discovery_text(const Discovery& discovery);

}  // namespace ember::report
