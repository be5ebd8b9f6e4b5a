#pragma once

#include <cstdint>
#include <string>

#include "plan/specialize.hpp"

namespace ember::plan {

/// Why the samples of a batch cannot go through a network apart: "node (Op): reason"; empty when they can.
/// `whole` is the network for the whole batch, `part` the same network for one of `parts` equal parts of it.
///
/// Sound: every operator has a rule for when axis 0 of its results consists of parts of which each
/// depends on the same part of its operands only; one without a rule couples. Every other operand must have
/// the same content in both networks, so that nothing computed from the size of the batch goes unseen.
std::string what_couples_samples(const Specialized& whole, const Specialized& part, std::int64_t parts);

}  // namespace ember::plan
