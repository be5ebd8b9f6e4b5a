#include "kernels/statistics.hpp"

#include "kernels/activation_math.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

extern const StatisticsKernels kStatistics;

namespace {

/// Rows of a chunk: what float32 partial sums run over, and what the buffer of activations holds.
constexpr std::int64_t kChunk = 64;
constexpr float kLargest = 3.402823466e+38F;

/// The rule in registers.
struct Rule {
  Vec fired_above, fired_below, saturated_up_to, saturated_from;

  EMBER_INLINE explicit Rule(const FiringRule& rule)
      : fired_above(broadcast(rule.fired_above)),
        fired_below(broadcast(rule.fired_below)),
        saturated_up_to(broadcast(rule.saturated_up_to)),
        saturated_from(broadcast(rule.saturated_from)) {}
};

/// Totals of one chunk, per lane.
struct Partial {
  Vec fired, saturated, not_finite;
  Vec pre_min, pre_max, pre_sum, pre_sum_squares;
  Vec out_min, out_max, out_sum, out_sum_squares, out_sum_abs;

  EMBER_INLINE Partial() {
    const Vec zero = broadcast(0.0F);
    fired = saturated = not_finite = zero;
    pre_sum = pre_sum_squares = out_sum = out_sum_squares = out_sum_abs = zero;
    pre_min = out_min = broadcast(__builtin_inff());
    pre_max = out_max = broadcast(-__builtin_inff());
  }

  /// x before and y after the activation; lanes that are not valid are left out.
  EMBER_INLINE void add(Vec x, Vec y, Mask valid, const Rule& rule) {
    const Vec zero = broadcast(0.0F);
    const Vec one = broadcast(1.0F);
    const Vec infinity = broadcast(__builtin_inff());
    const Mask finite = valid & (abs(x) <= broadcast(kLargest));
    const Mask is_fired = finite & (x > rule.fired_above) & (x < rule.fired_below);
    const Mask is_saturated = finite & ((x <= rule.saturated_up_to) | (x >= rule.saturated_from));
    fired = fired + select(is_fired, one, zero);
    saturated = saturated + select(is_saturated, one, zero);
    not_finite = not_finite + select(finite, zero, select(valid, one, zero));
    const Vec pre = select(finite, x, zero);
    pre_min = at_most(select(finite, x, infinity), pre_min);
    pre_max = at_least(select(finite, x, -infinity), pre_max);
    pre_sum = pre_sum + pre;
    pre_sum_squares = fmadd(pre, pre, pre_sum_squares);
    const Vec out = select(finite, y, zero);
    out_min = at_most(select(finite, y, infinity), out_min);
    out_max = at_least(select(finite, y, -infinity), out_max);
    out_sum = out_sum + out;
    out_sum_squares = fmadd(out, out, out_sum_squares);
    out_sum_abs = out_sum_abs + abs(out);
  }
};

/// Where the lanes of a chunk go: lane i to channel i of the target (step 1), or all to one channel (step 0).
struct Lanes {
  std::int64_t count;
  std::int64_t step;
};

template <class Number, class Join>
EMBER_INLINE void join(Vec values, Number* to, Lanes lanes, Join&& joined) {
  float from[kLanes];
  store(from, values);
  for (std::int64_t i = 0; i < lanes.count; ++i) {
    Number& target = to[i * lanes.step];
    target = joined(target, static_cast<Number>(from[i]));
  }
}

template <class Number>
EMBER_INLINE void join_sum(Vec values, Number* to, Lanes lanes) {
  join(values, to, lanes, [](Number a, Number b) { return a + b; });
}
EMBER_INLINE void join_min(Vec values, double* to, Lanes lanes) {
  join(values, to, lanes, [](double a, double b) { return b < a ? b : a; });
}
EMBER_INLINE void join_max(Vec values, double* to, Lanes lanes) {
  join(values, to, lanes, [](double a, double b) { return b > a ? b : a; });
}

/// What one sample has shown so far.
struct SampleCounts {
  std::int64_t fired[kLanes] = {};
  std::int64_t saturated[kLanes] = {};
};

void flush(const Partial& partial, Lanes lanes, StatisticsBlock& block, std::int64_t lane,
           SampleCounts& sample) {
  join_sum(partial.fired, sample.fired, lanes);
  join_sum(partial.saturated, sample.saturated, lanes);
  join_sum(partial.not_finite, block.not_finite + lane, lanes);
  join_min(partial.pre_min, block.pre_min + lane, lanes);
  join_max(partial.pre_max, block.pre_max + lane, lanes);
  join_sum(partial.pre_sum, block.pre_sum + lane, lanes);
  join_sum(partial.pre_sum_squares, block.pre_sum_squares + lane, lanes);
  join_min(partial.out_min, block.out_min + lane, lanes);
  join_max(partial.out_max, block.out_max + lane, lanes);
  join_sum(partial.out_sum, block.out_sum + lane, lanes);
  join_sum(partial.out_sum_squares, block.out_sum_squares + lane, lanes);
  join_sum(partial.out_sum_abs, block.out_sum_abs + lane, lanes);
}

void finish_sample(const SampleCounts& sample, std::int64_t channels, std::int64_t positions,
                   StatisticsBlock& block, std::int64_t lane) {
  for (std::int64_t i = 0; i < channels; ++i) {
    block.positions_fired[lane + i] += sample.fired[i];
    block.positions_saturated[lane + i] += sample.saturated[i];
    block.samples_fired[lane + i] += sample.fired[i] > 0 ? 1 : 0;
    block.samples_saturated[lane + i] += positions > 0 && sample.saturated[i] == positions ? 1 : 0;
  }
}

EMBER_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

/// The first n lanes.
EMBER_INLINE Mask first_lanes_valid(std::int64_t n) {
  float index[kLanes];
  for (std::int64_t i = 0; i < kLanes; ++i) index[i] = static_cast<float>(i);
  return load(index) < broadcast(static_cast<float>(n));
}

/// A chunk of `rows` rows, a channel per lane.
Partial chunk_of_rows(const float* x, const float* out, std::int64_t rows, std::int64_t stride,
                      std::int64_t channels, const Rule& rule) {
  Partial partial;
  const Mask valid = first_lanes_valid(kLanes);  // flush() drops the lanes beyond `channels`
  if (channels == kLanes) {
    for (std::int64_t r = 0; r < rows; ++r) {
      partial.add(load(x + r * stride), load(out + r * kLanes), valid, rule);
    }
  } else {
    for (std::int64_t r = 0; r < rows; ++r) {
      partial.add(load_partial(x + r * stride, channels), load(out + r * kLanes), valid, rule);
    }
  }
  return partial;
}

/// A chunk of n contiguous positions of one channel.
Partial chunk_of_channel(const float* x, const float* out, std::int64_t n, const Rule& rule) {
  Partial partial;
  const Mask all = first_lanes_valid(kLanes);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) partial.add(load(x + i), load(out + i), all, rule);
  if (i < n) partial.add(load_partial(x + i, n - i), load(out + i), first_lanes_valid(n - i), rule);
  return partial;
}

/// `channels` <= kLanes channels from column `first` of the source on.
void accumulate_rows(const StatisticsSource& source, std::int64_t first, std::int64_t channels,
                     const Activation& activation, const Rule& rule, StatisticsBlock& block,
                     std::int64_t lane) {
  alignas(64) float out[kChunk * kLanes] = {};
  for (std::int64_t s = 0; s < source.samples; ++s) {
    SampleCounts sample;
    for (std::int64_t g = 0; g < source.groups; ++g) {
      const float* group = source.data + s * source.sample_stride + g * source.group_stride + first;
      for (std::int64_t p = 0; p < source.positions; p += kChunk) {
        const float* x = group + p * source.position_stride;
        const std::int64_t rows = smaller(kChunk, source.positions - p);
        apply_rows(activation, x, out, rows, channels, source.position_stride, kLanes,
                   source.first_channel + first);
        flush(chunk_of_rows(x, out, rows, source.position_stride, channels, rule), {channels, 1}, block, lane,
              sample);
      }
    }
    finish_sample(sample, channels, source.groups * source.positions, block, lane);
  }
}

/// One channel whose positions are contiguous.
void accumulate_channel(const StatisticsSource& source, const Activation& activation, const Rule& rule,
                        StatisticsBlock& block, std::int64_t lane) {
  alignas(64) float out[kChunk * kLanes] = {};
  for (std::int64_t s = 0; s < source.samples; ++s) {
    SampleCounts sample;
    for (std::int64_t g = 0; g < source.groups; ++g) {
      const float* group = source.data + s * source.sample_stride + g * source.group_stride;
      for (std::int64_t p = 0; p < source.positions; p += kChunk * kLanes) {
        const std::int64_t n = smaller(kChunk * kLanes, source.positions - p);
        apply_channel(activation, group + p, out, n, source.first_channel);
        flush(chunk_of_channel(group + p, out, n, rule), {kLanes, 0}, block, lane, sample);
      }
    }
    finish_sample(sample, 1, source.groups * source.positions, block, lane);
  }
}

void accumulate(const StatisticsSource& source, const Activation& activation, const FiringRule& firing,
                StatisticsBlock& block, int lane) {
  const Rule rule(firing);
  if (source.channels == 1 && source.position_stride == 1) {
    accumulate_channel(source, activation, rule, block, lane);
    return;
  }
  for (std::int64_t first = 0; first < source.channels; first += kLanes) {
    accumulate_rows(source, first, smaller(kLanes, source.channels - first), activation, rule, block,
                    lane + first);
  }
}

}  // namespace

const StatisticsKernels kStatistics = {.accumulate = accumulate};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
