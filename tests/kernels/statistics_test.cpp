#include "kernels/statistics.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "audit/firing.hpp"
#include "kernels/table.hpp"
#include "support/lowering_harness.hpp"

using namespace ember;
using kernels::Activation;
using kernels::ActivationKind;
using kernels::StatisticsBlock;
using kernels::StatisticsSource;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

StatisticsBlock fresh() {
  StatisticsBlock block{};
  for (int i = 0; i < StatisticsBlock::kChannels; ++i) {
    block.pre_min[i] = block.out_min[i] = kInfinity;
    block.pre_max[i] = block.out_max[i] = -kInfinity;
  }
  return block;
}

/// The literal meaning of StatisticsKernels::accumulate, one value at a time in double.
StatisticsBlock expected(const StatisticsSource& source, const Activation& activation,
                         const kernels::FiringRule& rule, int lane) {
  StatisticsBlock block = fresh();
  for (int c = 0; c < source.channels; ++c) {
    const int at = lane + c;
    for (std::int64_t s = 0; s < source.samples; ++s) {
      std::int64_t fired = 0, saturated = 0;
      for (std::int64_t g = 0; g < source.groups; ++g) {
        for (std::int64_t p = 0; p < source.positions; ++p) {
          const float x =
              source
                  .data[s * source.sample_stride + g * source.group_stride + p * source.position_stride + c];
          if (!std::isfinite(x)) {
            ++block.not_finite[at];
            continue;
          }
          fired += x > rule.fired_above && x < rule.fired_below ? 1 : 0;
          saturated += x <= rule.saturated_up_to || x >= rule.saturated_from ? 1 : 0;
          const double pre = static_cast<double>(x);
          const double out = test::activate(activation, pre, source.first_channel + c);
          block.pre_min[at] = std::min(block.pre_min[at], x);
          block.pre_max[at] = std::max(block.pre_max[at], x);
          block.pre_sum[at] += pre;
          block.pre_sum_squares[at] += pre * pre;
          block.out_min[at] = std::min(block.out_min[at], static_cast<float>(out));
          block.out_max[at] = std::max(block.out_max[at], static_cast<float>(out));
          block.out_sum[at] += out;
          block.out_sum_squares[at] += out * out;
          block.out_sum_abs[at] += std::abs(out);
        }
      }
      block.positions_fired[at] += fired;
      block.positions_saturated[at] += saturated;
      block.samples_fired[at] += fired > 0 ? 1 : 0;
      block.samples_saturated[at] += saturated == source.groups * source.positions ? 1 : 0;
    }
  }
  return block;
}

bool close(double a, double b, double scale) { return a == b || std::abs(a - b) <= 3e-6 * scale; }

/// Compares every channel of the block, those outside the source too. "" when they agree.
std::string difference(const StatisticsBlock& got, const StatisticsBlock& want, double values) {
  for (int i = 0; i < StatisticsBlock::kChannels; ++i) {
    const auto counts = [i](const StatisticsBlock& b) {
      return fmt::format("{} {} {} {} {}", b.samples_fired[i], b.samples_saturated[i], b.positions_fired[i],
                         b.positions_saturated[i], b.not_finite[i]);
    };
    if (counts(got) != counts(want))
      return fmt::format("channel {}: counts {} want {}", i, counts(got), counts(want));
    const double magnitude = 1.0 + 100.0 * values;
    const bool same =
        got.pre_min[i] == want.pre_min[i] && got.pre_max[i] == want.pre_max[i] &&
        close(static_cast<double>(got.out_min[i]), static_cast<double>(want.out_min[i]), 10.0) &&
        close(static_cast<double>(got.out_max[i]), static_cast<double>(want.out_max[i]), 10.0) &&
        close(got.pre_sum[i], want.pre_sum[i], magnitude) &&
        close(got.pre_sum_squares[i], want.pre_sum_squares[i], magnitude) &&
        close(got.out_sum[i], want.out_sum[i], magnitude) &&
        close(got.out_sum_squares[i], want.out_sum_squares[i], magnitude) &&
        close(got.out_sum_abs[i], want.out_sum_abs[i], magnitude);
    if (!same) return fmt::format("channel {}: moments differ", i);
  }
  return "";
}

struct Kind {
  Activation activation;
  const char* name;
};

std::vector<Kind> kinds(const std::vector<float>& slopes) {
  using enum ActivationKind;
  return {{{Relu}, "Relu"},
          {{LeakyRelu, 0.1F}, "LeakyRelu"},
          {{.kind = PRelu, .slopes = slopes.data(), .slope_count = 40}, "PRelu"},
          {{Elu, 1.0F}, "Elu"},
          {{ThresholdedRelu, 0.5F}, "ThresholdedRelu"},
          {{Gelu}, "Gelu"},
          {{Sigmoid}, "Sigmoid"},
          {{HardSigmoid, 0.2F, 0.5F}, "HardSigmoid"},
          {{HardSwish}, "HardSwish"},
          {{Silu, 1.0F}, "Silu"},
          {{Tanh}, "Tanh"},
          {{Clip, 0.0F, 6.0F}, "Relu6"},
          {{Clip, 0.5F, 3.0F}, "Clip"},
          {{Clip, -1.0F, 1.0F}, "HardTanh"}};
}

/// Values around the corners of every activation, unless `finite` with a few that are not.
std::vector<float> values(std::size_t count, std::uint64_t seed, bool finite = false) {
  std::mt19937_64 generator(seed);
  std::vector<float> result(count);
  for (float& value : result) {
    const std::uint64_t bits = generator();
    value = static_cast<float>(static_cast<double>(bits >> 11) * 0x1p-53 * 24.0 - 12.0);
    if (bits % 61 == 0) value = 0.0F;
    if (bits % 67 == 0) value = 6.0F;
    if (finite) continue;
    if (bits % 211 == 0) value = std::numeric_limits<float>::quiet_NaN();
    if (bits % 223 == 0) value = std::numeric_limits<float>::infinity();
    if (bits % 227 == 0) value = -std::numeric_limits<float>::infinity();
  }
  return result;
}

}  // namespace

TEST_CASE("statistics of a channel per lane agree with a scalar count, on every ISA and odd shapes") {
  std::vector<float> slopes(48);
  for (std::size_t i = 0; i < 40; ++i) slopes[i] = 0.02F * static_cast<float>(i);
  for (const simd::Isa isa : simd::available_isas()) {
    for (const Kind& kind : kinds(slopes)) {
      for (const int channels : {1, 3, 4, 5, 8, 13, 16}) {
        for (const std::int64_t positions : {1, 2, 63, 64, 65, 131}) {
          const std::int64_t stride = channels == 1 ? 5 : channels + 2;
          const bool finite = channels == 8 || channels == 16 || channels == 4;  // and 5 and 13 that are not
          const std::vector<float> data =
              values(static_cast<std::size_t>(3 * 2 * positions * stride), 7, finite);
          const StatisticsSource source{.data = data.data(),
                                        .samples = 3,
                                        .sample_stride = 2 * positions * stride,
                                        .groups = 2,
                                        .group_stride = positions * stride,
                                        .positions = positions,
                                        .position_stride = stride,
                                        .channels = channels,
                                        .first_channel = 16};
          const int lane = channels <= 8 ? 8 : 0;
          const kernels::FiringRule rule = auditing::firing_of(kind.activation, 16).rule;
          StatisticsBlock block = fresh();
          kernels::table(isa).statistics->accumulate(source, kind.activation, rule, block, lane);
          const std::string wrong = difference(block, expected(source, kind.activation, rule, lane),
                                               static_cast<double>(6 * positions));
          INFO(kind.name, " ", to_string(isa), " channels ", channels, " positions ", positions);
          CHECK(wrong == "");
        }
      }
    }
  }
}

TEST_CASE("statistics of contiguous positions agree with a scalar count, on every ISA and odd lengths") {
  const std::vector<float> slopes(48, 0.25F);
  for (const simd::Isa isa : simd::available_isas()) {
    for (const Kind& kind : kinds(slopes)) {
      for (const std::int64_t positions : {1, 3, 7, 8, 9, 16, 17, 127, 511, 512, 513, 2100, 4096}) {
        const bool finite = positions % 16 == 0;
        const std::vector<float> data = values(static_cast<std::size_t>(3 * 2 * positions), 11, finite);
        const StatisticsSource source{.data = data.data(),
                                      .samples = 3,
                                      .sample_stride = 2 * positions,
                                      .groups = 2,
                                      .group_stride = positions,
                                      .positions = positions,
                                      .position_stride = 1,
                                      .channels = 1,
                                      .first_channel = 5};
        const kernels::FiringRule rule = auditing::firing_of(kind.activation, 5).rule;
        StatisticsBlock block = fresh();
        kernels::table(isa).statistics->accumulate(source, kind.activation, rule, block, 15);
        const std::string wrong = difference(block, expected(source, kind.activation, rule, 15),
                                             static_cast<double>(6 * positions));
        INFO(kind.name, " ", to_string(isa), " positions ", positions);
        CHECK(wrong == "");
      }
    }
  }
}

TEST_CASE("statistics of large finite values, whose squares are not, leave none out") {
  std::vector<float> data(64 * 16, 1e30F);
  data[5] = -2e30F;
  const Activation relu{ActivationKind::Relu};
  for (const simd::Isa isa : simd::available_isas()) {
    const StatisticsSource source{.data = data.data(),
                                  .samples = 1,
                                  .sample_stride = 0,
                                  .groups = 1,
                                  .group_stride = 0,
                                  .positions = 64,
                                  .position_stride = 16,
                                  .channels = 16,
                                  .first_channel = 0};
    StatisticsBlock block = fresh();
    kernels::table(isa).statistics->accumulate(source, relu, {}, block, 0);
    CHECK(block.positions_fired[5] == 63);
    CHECK(block.positions_fired[6] == 64);
    CHECK(block.not_finite[5] == 0);
    CHECK(block.pre_min[5] == static_cast<double>(-2e30F));
    CHECK(block.out_min[5] == 0.0);
    CHECK(std::abs(block.out_sum[6] / 64e30 - 1.0) < 1e-5);
  }
}

TEST_CASE("statistics do not depend on how samples are split among calls") {
  constexpr std::int64_t kSamples = 7, kPositions = 130, kChannels = 8;
  const std::vector<float> data = values(kSamples * kPositions * kChannels, 3);
  const Activation relu{ActivationKind::Relu};
  for (const simd::Isa isa : simd::available_isas()) {
    StatisticsSource source{.data = data.data(),
                            .samples = kSamples,
                            .sample_stride = kPositions * kChannels,
                            .groups = 1,
                            .group_stride = 0,
                            .positions = kPositions,
                            .position_stride = kChannels,
                            .channels = kChannels,
                            .first_channel = 0};
    const auto& kernel = *kernels::table(isa).statistics;
    StatisticsBlock whole = fresh();
    kernel.accumulate(source, relu, {}, whole, 0);
    StatisticsBlock parts = fresh();
    for (std::int64_t n : {2, 1, 4}) {
      source.samples = n;
      kernel.accumulate(source, relu, {}, parts, 0);
      source.data += n * source.sample_stride;
    }
    for (int i = 0; i < kChannels; ++i) {
      CHECK(parts.pre_sum[i] == whole.pre_sum[i]);
      CHECK(parts.out_sum_squares[i] == whole.out_sum_squares[i]);
      CHECK(parts.samples_fired[i] == whole.samples_fired[i]);
    }
  }
}
