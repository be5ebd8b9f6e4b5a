#pragma once

// Totals of a few rows of vectors, for the kernels that gather statistics. Included only by *.isa.cpp files.

#include "kernels/activation_math.hpp"
#include "kernels/statistics.hpp"
#include "kernels/watched_activation.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

inline constexpr float kLargest = 3.402823466e+38F;

/// The rule in registers.
struct Rule {
  Vec fired_above, fired_below, saturated_up_to, saturated_from;

  EMBER_INLINE explicit Rule(const FiringRule& rule)
      : fired_above(broadcast(rule.fired_above)),
        fired_below(broadcast(rule.fired_below)),
        saturated_up_to(broadcast(rule.saturated_up_to)),
        saturated_from(broadcast(rule.saturated_from)) {}
};

/// Minimum, maximum and sums, per lane.
struct Moments {
  Vec min = broadcast(__builtin_inff());
  Vec max = broadcast(-__builtin_inff());
  Vec sum = broadcast(0.0F);
  Vec sum_squares = broadcast(0.0F);

  /// Every lane counts.
  EMBER_INLINE void add(Vec x) {
    min = at_most(x, min);
    max = at_least(x, max);
    sum = sum + x;
    sum_squares = fmadd(x, x, sum_squares);
  }
  /// Lanes outside of the mask are left out.
  EMBER_INLINE void add(Vec x, Mask counted) {
    const Vec infinity = broadcast(__builtin_inff());
    min = at_most(select(counted, x, infinity), min);
    max = at_least(select(counted, x, -infinity), max);
    const Vec value = select(counted, x, broadcast(0.0F));
    sum = sum + value;
    sum_squares = fmadd(value, value, sum_squares);
  }
};

/// Totals of one chunk, per lane.
struct Partial {
  Vec fired = broadcast(0.0F);
  Vec saturated = broadcast(0.0F);
  Vec not_finite = broadcast(0.0F);
  Moments pre, out;
  Vec out_sum_abs = broadcast(0.0F);
};

/// The rows of a chunk: row r is the vector at pre + r · stride, and its
/// activation that at out + r · kLanes.
struct Chunk {
  const float* pre;
  std::int64_t stride;
  const float* out;
  std::int64_t rows;
};

EMBER_INLINE Mask is_finite(Vec x) { return abs(x) <= broadcast(kLargest); }

// Counts and moments are separate passes over the chunk, which is in L1:
// together they would not fit the registers. Values are nearly always finite,
// so the moments are taken without masks when the counts show it.

EMBER_INLINE void count(const Chunk& chunk, Mask valid, const Rule& rule, Partial& partial) {
  const Vec zero = broadcast(0.0F);
  const Vec one = broadcast(1.0F);
  const Vec each = select(valid, one, zero);
  for (std::int64_t r = 0; r < chunk.rows; ++r) {
    const Vec x = load(chunk.pre + r * chunk.stride);
    const Mask finite = is_finite(x);
    const Mask fired = finite & (x > rule.fired_above) & (x < rule.fired_below);
    const Mask saturated = finite & ((x <= rule.saturated_up_to) | (x >= rule.saturated_from));
    partial.fired = partial.fired + select(fired, each, zero);
    partial.saturated = partial.saturated + select(saturated, each, zero);
    partial.not_finite = partial.not_finite + select(finite, zero, each);
  }
}

EMBER_INLINE void add_moments(const Chunk& chunk, Partial& partial) {
  for (std::int64_t r = 0; r < chunk.rows; ++r) {
    const Vec out = load(chunk.out + r * kLanes);
    partial.pre.add(load(chunk.pre + r * chunk.stride));
    partial.out.add(out);
    partial.out_sum_abs = partial.out_sum_abs + abs(out);
  }
}

EMBER_INLINE void add_finite_moments(const Chunk& chunk, Mask valid, Partial& partial) {
  for (std::int64_t r = 0; r < chunk.rows; ++r) {
    const Vec pre = load(chunk.pre + r * chunk.stride);
    const Vec out = load(chunk.out + r * kLanes);
    const Mask counted = valid & is_finite(pre);
    partial.pre.add(pre, counted);
    partial.out.add(out, counted);
    partial.out_sum_abs = partial.out_sum_abs + select(counted, abs(out), broadcast(0.0F));
  }
}

/// The first n lanes.
EMBER_INLINE Mask first_lanes_valid(std::int64_t n) {
  float index[kLanes];
  for (std::int64_t i = 0; i < kLanes; ++i) index[i] = static_cast<float>(i);
  return load(index) < broadcast(static_cast<float>(n));
}

/// The totals of a chunk of which the first `lanes` lanes of each row count.
EMBER_INLINE Partial totals(const Chunk& chunk, std::int64_t lanes, const Rule& rule) {
  const Mask valid = first_lanes_valid(lanes);
  Partial partial;
  count(chunk, valid, rule, partial);
  if (lanes == kLanes && xsimd::all(partial.not_finite == broadcast(0.0F))) add_moments(chunk, partial);
  else add_finite_moments(chunk, valid, partial);
  return partial;
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
