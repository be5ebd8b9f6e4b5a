#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
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

TEST_CASE("saturating functions reach their limits exactly") {
  using enum kernels::ActivationKind;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const simd::Isa isa : simd::available_isas()) {
    CHECK(apply(isa, {.kind = Tanh}, {9.2F, kInfinity, -9.2F}) == std::vector<float>{1.0F, 1.0F, -1.0F});
    CHECK(apply(isa, {.kind = Sigmoid}, {20.0F, -kInfinity}) == std::vector<float>{1.0F, 0.0F});
    CHECK(apply(isa, {.kind = HardSwish}, {3.0F, 1e9F, -3.0F}) == std::vector<float>{3.0F, 1e9F, 0.0F});
    // Only an erf of exactly ±1 gives these.
    CHECK(apply(isa, {.kind = Gelu}, {-6.0F, -1e30F, 1e30F}) == std::vector<float>{0.0F, 0.0F, 1e30F});
    CHECK(apply(isa, {.kind = Elu, .alpha = 0.5F}, {-kInfinity}) == std::vector<float>{-0.5F});
  }
}

TEST_CASE("instruction sets agree: exactly without fused operations, to their bounds with") {
  const std::vector<simd::Isa> isas = simd::available_isas();
  std::vector<float> x = test::special_arguments();
  for (std::uint64_t pattern = 0; pattern < (1ULL << 32); pattern += 65521)
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(pattern)));
  using enum kernels::ActivationKind;
  const std::set<kernels::ActivationKind> unfused = {None,      Relu,     LeakyRelu, PRelu, ThresholdedRelu,
                                                     HardSwish, Softsign, Clip};
  for (const test::ActivationBound& bound : test::activation_bounds()) {
    const std::vector<float> first = apply(isas.front(), bound.activation, x);
    for (const simd::Isa isa : isas) {
      const std::vector<float> y = apply(isa, bound.activation, x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (std::bit_cast<std::uint32_t>(y[i]) == std::bit_cast<std::uint32_t>(first[i])) continue;
        if (std::isnan(y[i]) && std::isnan(first[i])) continue;
        CAPTURE(bound.name);
        CAPTURE(to_string(isa));
        CAPTURE(x[i]);
        CAPTURE(first[i]);
        CAPTURE(y[i]);
        CHECK(!unfused.contains(bound.activation.kind));
        CHECK(test::error_of(bound, x[i], y[i]) <= bound.limit);
        CHECK(test::error_of(bound, x[i], first[i]) <= bound.limit);
      }
    }
  }
}

TEST_CASE("an element's bits do not depend on where it lies, and nothing beyond is touched") {
  constexpr std::size_t kMost = 70;
  std::vector<float> x(kMost);
  for (std::size_t i = 0; i < kMost; ++i) x[i] = 0.37F * static_cast<float>(i) - 12.0F;
  for (const simd::Isa isa : simd::available_isas()) {
    const kernels::ActivationKernels& kernels = *kernels::table(isa).activation;
    for (const test::ActivationBound& bound : test::activation_bounds()) {
      const std::vector<float> whole = apply(isa, bound.activation, x);
      for (std::size_t n = 0; n < kMost; ++n) {
        const std::size_t offset = n % 5;
        if (offset + n > kMost) continue;
        std::vector<float> y(kMost + 1, 77.0F);
        kernels.apply_channel(bound.activation, x.data() + offset, y.data(), static_cast<std::int64_t>(n), 0);
        CAPTURE(bound.name);
        CAPTURE(n);
        CHECK(std::memcmp(y.data(), whole.data() + offset, n * sizeof(float)) == 0);
        CHECK(y[n] == 77.0F);
      }
    }
  }
}

TEST_CASE("rows take PRelu slopes along them, whatever their width and strides") {
  std::vector<float> slopes(48);
  for (std::size_t i = 0; i < 37; ++i) slopes[i] = 0.01F * static_cast<float>(i + 1);
  const kernels::Activation activation = {
      .kind = kernels::ActivationKind::PRelu, .slopes = slopes.data(), .slope_count = 37};
  for (const simd::Isa isa : simd::available_isas()) {
    const kernels::ActivationKernels& kernels = *kernels::table(isa).activation;
    for (const std::int64_t width : {1, 3, 4, 8, 13, 16, 21}) {
      constexpr std::int64_t kRows = 3, kStrideIn = 24, kStrideOut = 23, kFirst = 16;
      std::vector<float> x(kRows * kStrideIn), y(kRows * kStrideOut, 77.0F);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 3 == 0 ? 1.5F : -static_cast<float>(i + 1);
      kernels.apply_rows(activation, x.data(), y.data(), kRows, width, kStrideIn, kStrideOut, kFirst);
      for (std::int64_t row = 0; row < kRows; ++row) {
        for (std::int64_t i = 0; i < kStrideOut; ++i) {
          const float in = x[static_cast<std::size_t>(row * kStrideIn + i)];
          const float want = i >= width ? 77.0F
                             : in < 0   ? slopes[static_cast<std::size_t>(kFirst + i)] * in
                                        : in;
          CHECK(y[static_cast<std::size_t>(row * kStrideOut + i)] == want);
        }
      }
    }
    std::vector<float> channel = {-1.0F, 2.0F, -3.0F};
    kernels.apply_channel(activation, channel.data(), channel.data(), 3, 36);
    CHECK(channel == std::vector<float>{-0.37F, 2.0F, 0.37F * -3.0F});
  }
}
