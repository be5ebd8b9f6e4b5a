#pragma once

#include <string>

namespace ember::plan {

/// The name of a half-precision value where widen_halves() computes it in float32. The value itself may be
/// gone then.
std::string widened_name(const std::string& half);

}  // namespace ember::plan
