#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "kernels/table.hpp"
#include "support/activation_accuracy.hpp"

using namespace ember;

namespace {

std::vector<float> apply(simd::Isa isa, const kernels::Activation& activation, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  kernels::table(isa).activation->apply_channel(activation, x.data(), y.data(),
                                                static_cast<std::int64_t>(x.size()), 0);
  return y;
}

}  // namespace

TEST_CASE("activations keep their error bounds over a comb of all float32 values, on every ISA") {
  const std::vector<simd::Isa> isas = simd::available_isas();
  for (const test::ActivationBound& bound : test::activation_bounds()) {
    const std::vector<test::WorstError> worst = test::sweep(bound, isas, 251);
    for (std::size_t k = 0; k < isas.size(); ++k) {
      CAPTURE(bound.name);
      CAPTURE(to_string(isas[k]));
      CAPTURE(worst[k].x);
      CAPTURE(worst[k].got);
      CAPTURE(worst[k].want);
      CHECK(worst[k].error <= bound.limit);
    }
  }
}

TEST_CASE("activations are right at zeros, infinities, NaN, subnormals and ends of ranges") {
  const std::vector<float> x = test::special_arguments();
  for (const simd::Isa isa : simd::available_isas()) {
    for (const test::ActivationBound& bound : test::activation_bounds()) {
      const std::vector<float> y = apply(isa, bound.activation, x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        CAPTURE(bound.name);
        CAPTURE(to_string(isa));
        CAPTURE(x[i]);
        CAPTURE(y[i]);
        CHECK(test::error_of(bound, x[i], y[i]) <= bound.limit);
      }
    }
  }
}
