#include <doctest/doctest.h>

#include "surgery/random_pruning.hpp"

TEST_CASE("prune: fifty thousand random networks compute what they did, and all that can go is gone") {
  const std::int64_t planted = ember::test::check_random_pruning(100'000, 150'000);
  MESSAGE(planted, " removable channels");
}
