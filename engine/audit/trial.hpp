#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <ember/audit.hpp>

#include "audit/cause_rules.hpp"
#include "audit/channel_watch.hpp"
#include "audit/producer.hpp"
#include "kernels/activation.hpp"

namespace ember::auditing {

/// What a change makes of the values v before an activation: scale · v + something between `low` and `high`,
/// which differs by position where borders do. Both ends are reached.
struct ChangedValues {
  double scale = 1.0;
  double low = 0.0, high = 0.0;
};

/// The change of a candidate as far as the values that a channel has without it, as audited, determine those
/// with it.
std::optional<ChangedValues> changed_values(const graph::Graph& graph, const Producer& producer,
                                            const ChannelReport& audited, const CauseRules& rules,
                                            const Candidate& candidate);
/// The same, not of the values before the activation, but of what BatchNormalization reads.
std::optional<ChangedValues> changed_normalisation(const graph::Graph& graph, const Producer& producer,
                                                   std::int64_t channel, const CauseRules& rules,
                                                   const Candidate& candidate);

/// What is done to the values that BatchNormalization reads until they are those before the activation, if
/// the latter, as audited, tell of the former.
std::optional<Linear> normalisation_of(const graph::Graph& graph, const Producer& producer,
                                       const ChannelReport& audited);
/// Mean and variance before `change`, from what was seen behind it.
Moments moments_in_front_of(const Linear& change, const ChannelStatistics& behind);

/// Whether extremes tell if a sample fires a channel of this activation, or frees a pinned one.
bool told_by_extremes(const kernels::Activation& activation, bool pinned);

/// In how many samples a changed channel is neither off nor stuck; see samples_alive(). nullopt: that cannot
/// be told from the extremes of the samples.
std::optional<std::int64_t> samples_alive(std::span<const Range> samples, const ChangedValues& change,
                                          const kernels::Activation& activation, bool pinned);

}  // namespace ember::auditing
