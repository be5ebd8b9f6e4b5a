#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "surgery/random_net.hpp"

using namespace ember;
using namespace ember::test;

namespace {

int graphs_wanted() {
  const char* wanted = std::getenv("EMBER_PRUNE_GRAPHS");
  return wanted == nullptr ? 200 : std::atoi(wanted);
}

bool only_zeros(const surgery::Removal& removal) {
  for (const RemovedChannel& channel : removal.removed) {
    if (channel.constant.value_or(0.0) != 0.0) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("prune: random networks compute what they did, and all that can go is gone") {
  std::int64_t planted = 0;
  const int graphs = graphs_wanted();
  for (int seed = 1; seed <= graphs; ++seed) {
    CAPTURE(seed);
    const RandomNet random(static_cast<std::uint64_t>(seed));
    surgery::Removal removal;
    REQUIRE_NOTHROW(removal = removal_of(random.net));
    check_same(random.net.graph(), *removal.graph, 1, only_zeros(removal));
    for (const auto& [layer, index] : random.removable()) {
      const std::vector<std::int64_t> removed = removed_from(removal, layer, 1);
      const bool gone = std::ranges::find(removed, index) != removed.end();
      CHECK_MESSAGE(gone, layer << " keeps channel " << index << ": " << kept_because(removal, layer, index));
      ++planted;
    }
    CHECK(surgery::remove_channels(*removal.graph, {}, 1).removed.empty());
  }
  CHECK(planted > graphs);
  MESSAGE(planted, " removable channels in ", graphs, " networks");
}
