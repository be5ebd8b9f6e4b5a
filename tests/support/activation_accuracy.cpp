#include "support/activation_accuracy.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/table.hpp"
#include "ops/activation_formula.hpp"

namespace ember::test {

namespace {

using kernels::ActivationKind;
using Measure = ActivationBound::Measure;

double exact(const ActivationBound& bound, float x) {
  const kernels::Activation& a = bound.activation;
  const float alpha = a.kind == ActivationKind::PRelu ? a.slopes[0] : a.alpha;
  return ops::activation_value(a.kind, static_cast<double>(x), static_cast<double>(alpha),
                               static_cast<double>(a.beta));
}

double unit_of_last_place(double value) {
  int exponent = 0;
  (void)std::frexp(value, &exponent);
  return std::ldexp(1.0, std::max(exponent, -125) - 24);
}

double error_against(const ActivationBound& bound, float x, float got, double want) {
  constexpr double kWrong = std::numeric_limits<double>::infinity();
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got) ? 0.0 : kWrong;
  // NaN compares false: an infinite result is right only where rounding the exact one overflows.
  const auto rounded = static_cast<float>(want);
  if (std::isinf(rounded) || std::isinf(got)) {
    if (rounded == got) return 0.0;
    const bool at_the_edge = std::abs(want) > 0.999999 * std::numeric_limits<float>::max();
    return at_the_edge && std::signbit(got) == std::signbit(rounded) ? 1.0 : kWrong;
  }
  if (bound.within_one && std::abs(got) > 1.0F) return kWrong;
  const double error = std::abs(static_cast<double>(got) - want);
  const double input = std::abs(static_cast<double>(x));
  switch (bound.measure) {
    case Measure::Ulp: return std::max(0.0, error - 0x1p-120) / unit_of_last_place(want);
    case Measure::OneOrInput: return error / std::max(1.0, input);
    case Measure::Terms: {
      const double terms = std::abs(static_cast<double>(bound.activation.alpha)) * input +
                           std::abs(static_cast<double>(bound.activation.beta));
      return error / terms;
    }
  }
  return kWrong;
}

}  // namespace

std::vector<ActivationBound> activation_bounds() {
  using enum ActivationKind;
  static const float slope = 0.3F;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {
      {.name = "None", .activation = {.kind = None}, .limit = 0.0},
      {.name = "Relu", .activation = {.kind = Relu}, .limit = 0.0},
      {.name = "LeakyRelu", .activation = {.kind = LeakyRelu, .alpha = 0.01F}},
      {.name = "PRelu", .activation = {.kind = PRelu, .slopes = &slope, .slope_count = 1}},
      {.name = "Elu", .activation = {.kind = Elu, .alpha = 1.0F}, .limit = 2.0},
      {.name = "Selu", .activation = {.kind = Selu, .alpha = 1.67326319F, .beta = 1.05070102F}, .limit = 3.0},
      {.name = "Celu", .activation = {.kind = Celu, .alpha = 1.0F}, .limit = 3.0},
      {.name = "Celu 2.5", .activation = {.kind = Celu, .alpha = 2.5F}, .limit = 3.0},
      {.name = "ThresholdedRelu", .activation = {.kind = ThresholdedRelu, .alpha = 0.7F}, .limit = 0.0},
      {.name = "Gelu", .activation = {.kind = Gelu}, .measure = Measure::OneOrInput, .limit = 2.5e-7},
      {.name = "GeluTanh", .activation = {.kind = GeluTanh}, .measure = Measure::OneOrInput, .limit = 2e-7},
      {.name = "Sigmoid", .activation = {.kind = Sigmoid}, .limit = 3.0, .within_one = true},
      {.name = "HardSigmoid",
       .activation = {.kind = HardSigmoid, .alpha = 0.2F, .beta = 0.5F},
       .measure = Measure::Terms,
       .limit = 6.1e-8,
       .within_one = true},
      {.name = "HardSwish", .activation = {.kind = HardSwish}, .limit = 3.0},
      {.name = "Silu", .activation = {.kind = Silu, .alpha = 1.0F}, .limit = 3.0},
      {.name = "Mish", .activation = {.kind = Mish}, .limit = 6.0},
      {.name = "Softplus", .activation = {.kind = Softplus}, .limit = 4.0},
      {.name = "Softsign", .activation = {.kind = Softsign}, .limit = 2.0, .within_one = true},
      {.name = "Tanh", .activation = {.kind = Tanh}, .limit = 7.0, .within_one = true},
      {.name = "Clip", .activation = {.kind = Clip, .alpha = 0.0F, .beta = 6.0F}, .limit = 0.0},
      {.name = "Clip below", .activation = {.kind = Clip, .alpha = -1.5F, .beta = kInfinity}, .limit = 0.0},
  };
}

double error_of(const ActivationBound& bound, float x, float got) {
  return error_against(bound, x, got, exact(bound, x));
}

std::vector<WorstError> sweep(const ActivationBound& bound, const std::vector<simd::Isa>& isas,
                              std::uint64_t stride) {
  constexpr std::size_t kBatch = 4096;
  constexpr std::uint64_t kPatterns = 1ULL << 32;
  std::vector<WorstError> worst(isas.size());
  std::vector<float> x, y;
  std::vector<double> want;
  for (std::uint64_t pattern = 0; pattern < kPatterns;) {
    x.clear();
    for (; x.size() < kBatch && pattern < kPatterns; pattern += stride) {
      x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(pattern)));
    }
    y.resize(x.size());
    want.resize(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) want[i] = exact(bound, x[i]);
    for (std::size_t k = 0; k < isas.size(); ++k) {
      kernels::table(isas[k]).activation->apply_channel(bound.activation, x.data(), y.data(),
                                                        static_cast<std::int64_t>(x.size()), 0);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double error = error_against(bound, x[i], y[i], want[i]);
        if (error > worst[k].error) worst[k] = {.error = error, .x = x[i], .got = y[i], .want = want[i]};
      }
    }
  }
  return worst;
}

std::vector<float> special_arguments() {
  std::vector<float> points = {0.0F,
                               1e-45F,
                               1e-40F,
                               std::numeric_limits<float>::min(),
                               1e-20F,
                               1e-5F,
                               0.02F,
                               0.34657359F,
                               0.5F,
                               0.7F,
                               1.0F,
                               2.0F,
                               3.0F,
                               3.96772F,
                               5.56F,
                               6.0F,
                               9.1073F,
                               17.0F,
                               18.0F,
                               20.0F,
                               87.33F,
                               87.68F,
                               88.37F,
                               88.72F,
                               89.0F,
                               103.9F,
                               104.0F,
                               1e6F,
                               1e19F,
                               3e38F,
                               std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN()};
  std::vector<float> all;
  for (const float point : points) {
    const float before = std::nextafter(point, 0.0F);
    const float after = std::nextafter(point, std::numeric_limits<float>::infinity());
    for (const float x : {point, before, after}) {
      all.push_back(x);
      all.push_back(-x);
    }
  }
  return all;
}

}  // namespace ember::test
