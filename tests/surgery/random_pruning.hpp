#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "surgery/random_net.hpp"

namespace ember::test {

/// Prunes the networks of seeds [first, end): they compute what they did, to the bit where only zeros went,
/// and all that can go is gone. Returns how many channels had to go.
inline std::int64_t check_random_pruning(std::uint64_t first, std::uint64_t end) {
  std::int64_t planted = 0;
  for (std::uint64_t seed = first; seed < end; ++seed) {
    CAPTURE(seed);
    const RandomNet random(seed);
    surgery::Removal removal;
    REQUIRE_NOTHROW(removal = removal_of(random.net));
    const bool only_zeros = std::ranges::all_of(
        removal.removed, [](const RemovedChannel& channel) { return channel.constant.value_or(0.0) == 0.0; });
    check_same(random.net.graph(), *removal.graph, 1, only_zeros);
    for (const auto& [layer, index] : random.removable()) {
      const std::vector<std::int64_t> removed = removed_from(removal, layer, 1);
      const bool gone = std::ranges::find(removed, index) != removed.end();
      CHECK_MESSAGE(gone, layer << " keeps channel " << index << ": " << kept_because(removal, layer, index));
      ++planted;
    }
    CHECK(surgery::remove_channels(*removal.graph, {}).removed.empty());
  }
  return planted;
}

}  // namespace ember::test
