#pragma once

#include <set>
#include <vector>

#include "plan/fuse.hpp"

namespace ember::plan {

/// Groups that may run as one step. A chain of one is that group.
using Chain = std::vector<Group>;

/// Puts convolutions that surround a depthwise one, and that exchange values with nobody else, into chains of
/// up to three; all other groups stay alone. A chain stands where its last group stood. Values in `kept` stay
/// visible.
std::vector<Chain> chain_convolutions(const Specialized& specialized, std::vector<Group> groups,
                                      const std::set<graph::ValueId>& kept);

}  // namespace ember::plan
