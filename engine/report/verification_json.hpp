#pragma once

#include <nlohmann/json.hpp>

#include <ember/verification.hpp>

namespace ember::report {

/// The verification as part of a larger document; see to_json(Verification).
nlohmann::ordered_json verification_json(const Verification& verification);

}  // namespace ember::report
