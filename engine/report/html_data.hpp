#pragma once

#include <string>

#include <ember/audit.hpp>

namespace ember::report {

/// A report as the script of the HTML page reads it: JSON that may stand inside a script element. What is
/// known of channels comes in columns by layer; a column whose values are all the same is that value. Numbers
/// that are not counts have four digits.
std::string page_data(const AuditReport& report);

}  // namespace ember::report
