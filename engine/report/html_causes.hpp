#pragma once

#include <string>

#include <ember/audit.hpp>

namespace ember::report {

/// What is said before anything about channels, as elements of the HTML page.
std::string alarms_html(const AuditReport& report);
/// The causes that were found, one row each, as a section of the HTML page; empty when there are none.
std::string causes_html(const AuditReport& report);

}  // namespace ember::report
