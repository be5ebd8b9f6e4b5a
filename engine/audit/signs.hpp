#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <ember/model.hpp>

#include "audit/statistics_data.hpp"

namespace ember::auditing {

/// The channels of each layer that fired in no sample so far and cannot fire for any input whatever: their
/// weights cannot make them positive on inputs that cannot be negative. Follows from the network alone;
/// ascending.
std::vector<std::vector<std::int64_t>> dead_by_sign(const Model& model,
                                                    const std::map<std::string, Shape>& input_shapes,
                                                    std::span<const LayerRecord> layers);

}  // namespace ember::auditing
