#include <cstdio>
#include <vector>

#include <doctest/doctest.h>

#include "support/activation_accuracy.hpp"

using namespace ember;

// Minutes per activation: run by `ctest -C slow -L slow`, or with doctest's --subcase=Tanh for one of them.
TEST_CASE("activations keep their error bounds for every float32 value, on every ISA") {
  const std::vector<simd::Isa> isas = simd::available_isas();
  for (const test::ActivationBound& bound : test::activation_bounds()) {
    SUBCASE(bound.name.c_str()) {
      const std::vector<test::WorstError> worst = test::sweep(bound, isas, 1);
      for (std::size_t k = 0; k < isas.size(); ++k) {
        std::printf("%-16s %-7.*s worst error %.4g at %.9g (got %.9g, exact %.9g)\n", bound.name.c_str(),
                    static_cast<int>(to_string(isas[k]).size()), to_string(isas[k]).data(), worst[k].error,
                    static_cast<double>(worst[k].x), static_cast<double>(worst[k].got), worst[k].want);
        CAPTURE(bound.name);
        CHECK(worst[k].error <= bound.limit);
      }
    }
  }
}
