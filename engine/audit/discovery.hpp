#pragma once

#include <ember/audit.hpp>

#include "audit/statistics_data.hpp"

namespace ember::auditing {

/// The discovery curve and what it lets expect, of a complete audit.
Discovery discover(const StatisticsData& data);

}  // namespace ember::auditing
