#include <doctest/doctest.h>

#include "surgery/random_pruning.hpp"

TEST_CASE("prune: twenty thousand random networks compute what they did, and all that can go is gone") {
  const std::int64_t planted = ember::test::check_random_pruning(100'000, 120'000);
  MESSAGE(planted, " removable channels");
}
