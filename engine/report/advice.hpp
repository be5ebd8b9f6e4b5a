#pragma once

#include <string>
#include <vector>

#include <ember/audit.hpp>

namespace ember::report {

/// What a verdict means with this report's numbers; goes on after "The channel".
std::string meaning_in(const AuditReport& report, Verdict verdict);

/// What to do about a report, most urgent first.
std::vector<std::string> next_steps(const AuditReport& report);

}  // namespace ember::report
