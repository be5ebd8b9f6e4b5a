#pragma once

#include <cmath>

#include <nlohmann/json.hpp>

namespace ember::report {

/// JSON has no NaN and no infinity: null. JsonObject::number() reads it back.
inline nlohmann::ordered_json json_number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

}  // namespace ember::report
