#pragma once

#include <ember/causes.hpp>

#include "report/json_object.hpp"

namespace ember::report {

// Causes and findings as they stand in a JSON report, and back.

nlohmann::ordered_json to_json(const Explanation& explanation);
nlohmann::ordered_json to_json(const Finding& finding);
Explanation read_explanation(const JsonObject& from);
Finding read_finding(const JsonObject& from);

}  // namespace ember::report
