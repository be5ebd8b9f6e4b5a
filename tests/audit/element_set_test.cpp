#include <cstddef>
#include <vector>

#include <doctest/doctest.h>

#include "audit/element_set.hpp"

using ember::auditing::ElementSet;

namespace {

std::vector<std::size_t> elements(const ElementSet& set) {
  std::vector<std::size_t> found;
  set.for_each([&](std::size_t i) { found.push_back(i); });
  return found;
}

}  // namespace

TEST_CASE("a set numbers its elements in their order") {
  ElementSet set;
  CHECK(set.empty());
  const std::vector<std::size_t> members = {0, 5, 63, 64, 128, 199};
  for (const std::size_t i : {199U, 64U, 5U, 0U, 128U, 63U, 5U}) set.insert(i, 200);
  set.number();
  CHECK_FALSE(set.empty());
  CHECK(elements(set) == members);
  CHECK(set.count() == members.size());
  CHECK_FALSE(set.complete());
  for (std::size_t at = 0; at < members.size(); ++at) CHECK(set.position(members[at]) == at);
  std::vector<std::size_t> middle;
  set.for_each(64, 192, [&](std::size_t i) { middle.push_back(i); });
  CHECK(middle == std::vector<std::size_t>{64, 128});
}

TEST_CASE("a set of all elements is complete, whatever their number") {
  for (const std::size_t size : {1U, 63U, 64U, 65U, 128U, 1000U}) {
    ElementSet set;
    set.insert_all(size);
    set.number();
    CHECK(set.complete());
    CHECK(set.count() == size);
    CHECK(elements(set).size() == size);
    CHECK(set.position(size - 1) == size - 1);
  }
  ElementSet none;
  none.insert_all(0);
  none.number();
  CHECK(none.empty());
  CHECK(none.complete());
}
