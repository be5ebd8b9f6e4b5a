#include "audit/binomial.hpp"

#include <cmath>
#include <initializer_list>

#include <doctest/doctest.h>

using namespace ember::auditing;

TEST_CASE("the incomplete beta function has its known values") {
  CHECK(incomplete_beta(1, 1, 0.3) == doctest::Approx(0.3).epsilon(1e-13));
  CHECK(incomplete_beta(2, 3, 0.4) ==
        doctest::Approx(0.5248).epsilon(1e-13));  // Σ C(4,j) .4^j .6^(4−j), j >= 2
  CHECK(incomplete_beta(0.5, 0.5, 0.25) == doctest::Approx(1.0 / 3.0).epsilon(1e-13));  // (2/π) asin √x
  CHECK(incomplete_beta(5, 1, 0.9) == doctest::Approx(std::pow(0.9, 5)).epsilon(1e-13));
  CHECK(incomplete_beta(7, 4, 0) == 0.0);
  CHECK(incomplete_beta(7, 4, 1) == 1.0);
  for (const double x : {0.1, 0.5, 0.99}) {
    CHECK(incomplete_beta(30, 200, x) ==
          doctest::Approx(1.0 - incomplete_beta(200, 30, 1.0 - x)).epsilon(1e-12));
  }
}

TEST_CASE("the upper limit of a rate is Clopper–Pearson's") {
  // None of n: the rule of three, exactly.
  CHECK(upper_rate(0, 100, 0.05) == doctest::Approx(1.0 - std::pow(0.05, 0.01)).epsilon(1e-13));
  CHECK(upper_rate(0, 1000000, 0.05) == doctest::Approx(2.995728e-6).epsilon(1e-6));
  // One-sided 97.5% limits as tables of the two-sided 95% interval give them.
  CHECK(upper_rate(1, 10, 0.025) == doctest::Approx(0.445016).epsilon(1e-5));
  CHECK(upper_rate(5, 10, 0.025) == doctest::Approx(0.812914).epsilon(1e-5));
  CHECK(upper_rate(10, 100, 0.025) == doctest::Approx(0.176223).epsilon(1e-5));
  CHECK(upper_rate(10, 10, 0.025) == 1.0);
  CHECK(upper_rate(0, 0, 0.05) == 1.0);
}

TEST_CASE("at the upper limit the chance of so few is alpha") {
  for (const long n : {3L, 50L, 2500L, 1000000L}) {
    for (const long k : {1L, 2L, n / 3}) {
      const double p = upper_rate(k, n, 0.001);
      CHECK(p > static_cast<double>(k) / static_cast<double>(n));
      CHECK(incomplete_beta(static_cast<double>(n - k), static_cast<double>(k + 1), 1.0 - p) ==
            doctest::Approx(0.001).epsilon(1e-6));
    }
  }
}
