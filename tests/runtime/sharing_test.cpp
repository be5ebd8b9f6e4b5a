#include "runtime/sharing.hpp"

#include <doctest/doctest.h>

using ember::runtime::Sharing;

namespace {

constexpr std::int64_t kSmall = 5'000, kMiddle = 100'000, kLarge = 10'000'000;

/// Runs that take so long together and alone, where they offer less; how many of them were shared.
int shared_runs(Sharing& sharing, int runs, std::int64_t together, std::int64_t alone) {
  int shared = 0;
  for (int run = 0; run < runs; ++run) {
    shared += sharing.shares() ? 1 : 0;
    sharing.ran(sharing.shares() ? kMiddle : kMiddle / 3, sharing.shares() ? together : alone);
  }
  return shared;
}

}  // namespace

TEST_CASE("runs that offer little are not shared, those that offer plenty are") {
  Sharing sharing;
  sharing.ran(kSmall, 1);
  CHECK_FALSE(sharing.shares());
  sharing.ran(0, 1);
  CHECK_FALSE(sharing.shares());
  for (int run = 0; run < 100; ++run) {
    sharing.ran(kLarge, 1);
    CHECK(sharing.shares());
  }
}

TEST_CASE("in between, the faster way is kept") {
  Sharing sharing;
  CHECK(shared_runs(sharing, 10'000, 60, 100) > 9'500);
  // It may change: helpers are busy elsewhere now.
  shared_runs(sharing, 10'000, 150, 100);
  CHECK(shared_runs(sharing, 10'000, 150, 100) < 500);
  shared_runs(sharing, 10'000, 60, 100);
  CHECK(shared_runs(sharing, 10'000, 60, 100) > 9'500);
}

TEST_CASE("a few slow runs decide nothing") {
  Sharing sharing;
  int run = 0;
  const auto took = [&](std::int64_t usual) { return ++run % 3 == 0 ? 10 * usual : usual; };
  int shared = 0;
  for (int i = 0; i < 10'000; ++i) {
    shared += sharing.shares() ? 1 : 0;
    sharing.ran(kMiddle, took(sharing.shares() ? 60 : 100));
  }
  CHECK(shared > 9'500);
}

TEST_CASE("a network that offers much more is tried anew") {
  Sharing sharing;
  shared_runs(sharing, 100, 150, 100);
  CHECK_FALSE(sharing.shares());
  sharing.ran(3 * kMiddle, 100);
  CHECK(sharing.shares());
}
