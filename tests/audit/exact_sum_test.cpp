#include "audit/exact_sum.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using ember::auditing::ExactSum;

namespace {

double sum(const std::vector<double>& terms) {
  ExactSum total;
  for (const double term : terms) total.add(term);
  return total.value();
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("exact sums are exact where doubles are not, and round once to the nearest") {
  CHECK(sum({}) == 0.0);
  CHECK(sum({1e30, 1.0, -1e30}) == 1.0);
  CHECK(sum({0x1p-149, 0x1p127, -0x1p127}) == 0x1p-149);
  CHECK(sum({1.0, 0x1p-53}) == 1.0);                            // a tie goes to even
  CHECK(sum({1.0, 0x1p-53, 0x1p-140}) == 0x1.0000000000001p0);  // just above it
  CHECK(sum({-1.0, -0x1p-53, -0x1p-140}) == -0x1.0000000000001p0);
  CHECK(sum({-0.1, -0.2, 0.1, 0.2}) == 0.0);
  CHECK(sum({0x1p-200, 0x1p-200}) == 0.0);  // below the last bit
  CHECK(sum({-0x1p179, 0x1p179, -3.5}) == -3.5);
}

TEST_CASE("exact sums take infinities and NaN as IEEE 754 does") {
  CHECK(sum({1.0, kInfinity}) == kInfinity);
  CHECK(sum({-kInfinity, 1e300}) != sum({-kInfinity}));  // beyond the range counts as infinite
  CHECK(sum({-kInfinity, 5.0}) == -kInfinity);
  CHECK(std::isnan(sum({-kInfinity, 5.0, kInfinity})));
  CHECK(std::isnan(sum({std::nan("")})));
}

TEST_CASE("exact sums do not depend on order or grouping") {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> mantissa(-1.0, 1.0);
  std::uniform_int_distribution<int> exponent(-90, 120);
  std::vector<double> terms(1000);
  for (double& term : terms) term = std::ldexp(mantissa(random), exponent(random));
  const double expected = sum(terms);
  for (int round = 0; round < 20; ++round) {
    std::ranges::shuffle(terms, random);
    std::vector<ExactSum> parts(7);
    for (std::size_t i = 0; i < terms.size(); ++i) parts[i * i % parts.size()].add(terms[i]);
    ExactSum total;
    for (const ExactSum& part : parts) total.add(part);
    CHECK(total.value() == expected);
  }
}

TEST_CASE("exact sums of small integers agree with integer arithmetic") {
  std::mt19937 random(8);
  std::uniform_int_distribution<std::int64_t> any(-(std::int64_t{1} << 50), std::int64_t{1} << 50);
  std::int64_t expected = 0;
  ExactSum total;
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t term = any(random);
    expected += term;
    total.add(static_cast<double>(term));
    REQUIRE(total.value() == static_cast<double>(expected));
  }
}
