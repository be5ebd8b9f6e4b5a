#include <doctest/doctest.h>

#include "surgery/random_pruning.hpp"

using namespace ember::test;

TEST_CASE("prune: random networks compute what they did, and all that can go is gone") {
  constexpr std::uint64_t kGraphs = 4000;  // tests/slow has more
  const std::int64_t planted = check_random_pruning(1, kGraphs + 1);
  CHECK(planted > std::int64_t{2} * kGraphs);
  MESSAGE(planted, " removable channels in ", kGraphs, " networks");
}
