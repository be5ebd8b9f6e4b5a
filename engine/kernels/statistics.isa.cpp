#include "kernels/statistics.hpp"

#include "kernels/statistics_chunk.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

extern const StatisticsKernels kStatistics;

/// In watched_activation.isa.cpp.
void add_pieces(const PieceSource& source, const Activation& activation, const WatchRule& rule,
                StatisticsBlock& block);

namespace {

/// A clamp to [low, high] with 0 <= low, which Relu is, too: monotone and never
/// negative, so that most of what is asked of the output follows from the
/// input, and all of it in one pass over registers.
struct FastClamp {
  bool applies = false;
  bool saturates = false;
  Vec low = broadcast(0.0F);
  Vec high = broadcast(__builtin_inff());

  EMBER_INLINE FastClamp(const Activation& activation, const FiringRule& rule) {
    const bool clip = activation.kind == ActivationKind::Clip;
    applies = activation.kind == ActivationKind::Relu ||
              (clip && activation.alpha >= 0.0F && activation.beta >= activation.alpha);
    saturates = rule.saturated_from <= kLargest || rule.saturated_up_to >= -kLargest;
    if (!clip) return;
    low = broadcast(activation.alpha);
    high = broadcast(activation.beta);
  }
};

/// Totals of a chunk whose every lane counts; the output is not read but made.
/// False, and no totals, when some value is not finite (or the sums say that
/// one may be).
template <bool kSaturates>
EMBER_INLINE bool add_clamped(const Chunk& chunk, const Rule& rule, const FastClamp& clamped,
                              Partial& partial) {
  const Vec one = broadcast(1.0F);
  const Vec zero = broadcast(0.0F);
  Moments pre;
  Vec fired = zero;
  Vec saturated = zero;
  Vec sum = zero;
  Vec sum_squares = zero;
  for (std::int64_t r = 0; r < chunk.rows; ++r) {
    const Vec x = load(chunk.pre + r * chunk.stride);
    pre.add(x);
    const Vec out = clamp(x, clamped.low, clamped.high);
    sum = sum + out;
    sum_squares = fmadd(out, out, sum_squares);
    fired = fired + select((x > rule.fired_above) & (x < rule.fired_below), one, zero);
    if constexpr (kSaturates) {
      saturated = saturated + select((x <= rule.saturated_up_to) | (x >= rule.saturated_from), one, zero);
    }
  }
  if (!xsimd::all(is_finite(pre.sum_squares))) return false;
  partial.fired = fired;
  partial.saturated = saturated;
  partial.pre = pre;
  partial.out.min = clamp(pre.min, clamped.low, clamped.high);
  partial.out.max = clamp(pre.max, clamped.low, clamped.high);
  partial.out.sum = sum;
  partial.out.sum_squares = sum_squares;
  partial.out_sum_abs = sum;
  return true;
}

EMBER_INLINE bool add_clamped(const Chunk& chunk, const Rule& rule, const FastClamp& clamped,
                              Partial& partial) {
  return clamped.saturates ? add_clamped<true>(chunk, rule, clamped, partial)
                           : add_clamped<false>(chunk, rule, clamped, partial);
}

/// Where the lanes of a chunk go.
enum class Target : std::uint8_t {
  EachLane,    ///< all lanes, lane i to channel i
  FirstLanes,  ///< some lanes, lane i to channel i
  OneChannel,  ///< all lanes to one channel
};

template <Target kTarget, class T, class Join>
EMBER_INLINE void join(Vec values, T* to, std::int64_t count, Join&& joined) {
  float from[kLanes];
  store(from, values);
  if constexpr (kTarget == Target::EachLane) {
    for (std::int64_t i = 0; i < kLanes; ++i) to[i] = joined(to[i], static_cast<T>(from[i]));
  } else if constexpr (kTarget == Target::FirstLanes) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = joined(to[i], static_cast<T>(from[i]));
  } else {
    for (std::int64_t i = 0; i < kLanes; ++i) to[0] = joined(to[0], static_cast<T>(from[i]));
  }
}

template <Target kTarget>
EMBER_INLINE void join_sum(Vec values, double* to, std::int64_t count) {
  join<kTarget>(values, to, count, [](double a, double b) { return a + b; });
}
template <Target kTarget>
EMBER_INLINE void join_moments(const Moments& moments, std::int64_t count, float* min, float* max,
                               double* sum, double* sum_squares) {
  join<kTarget>(moments.min, min, count, [](float a, float b) { return b < a ? b : a; });
  join<kTarget>(moments.max, max, count, [](float a, float b) { return b > a ? b : a; });
  join_sum<kTarget>(moments.sum, sum, count);
  join_sum<kTarget>(moments.sum_squares, sum_squares, count);
}

/// What one sample has shown so far: whole numbers.
struct SampleCounts {
  double fired[kLanes] = {};
  double saturated[kLanes] = {};
};

template <Target kTarget>
void flush(const Partial& partial, std::int64_t count, StatisticsBlock& block, std::int64_t lane,
           SampleCounts& sample) {
  join_sum<kTarget>(partial.fired, sample.fired, count);
  join_sum<kTarget>(partial.saturated, sample.saturated, count);
  if (!xsimd::all(partial.not_finite == broadcast(0.0F))) {
    float from[kLanes];
    store(from, partial.not_finite);
    for (std::int64_t i = 0; i < (kTarget == Target::FirstLanes ? count : kLanes); ++i)
      block.not_finite[kTarget == Target::OneChannel ? lane : lane + i] += static_cast<std::int64_t>(from[i]);
  }
  join_moments<kTarget>(partial.pre, count, block.pre_min + lane, block.pre_max + lane, block.pre_sum + lane,
                        block.pre_sum_squares + lane);
  join_moments<kTarget>(partial.out, count, block.out_min + lane, block.out_max + lane, block.out_sum + lane,
                        block.out_sum_squares + lane);
  join_sum<kTarget>(partial.out_sum_abs, block.out_sum_abs + lane, count);
}

void finish_sample(const SampleCounts& sample, std::int64_t channels, std::int64_t positions,
                   StatisticsBlock& block, std::int64_t lane) {
  for (std::int64_t i = 0; i < channels; ++i) {
    const auto fired = static_cast<std::int64_t>(sample.fired[i]);
    const auto saturated = static_cast<std::int64_t>(sample.saturated[i]);
    block.positions_fired[lane + i] += fired;
    block.positions_saturated[lane + i] += saturated;
    block.samples_fired[lane + i] += fired > 0 ? 1 : 0;
    block.samples_saturated[lane + i] += positions > 0 && saturated == positions ? 1 : 0;
  }
}

EMBER_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

/// `channels` <= kLanes channels from column `first` of the source on.
void accumulate_rows(const StatisticsSource& source, std::int64_t first, std::int64_t channels,
                     const Activation& activation, const Rule& rule, const FastClamp& clamped,
                     StatisticsBlock& block, std::int64_t lane) {
  alignas(64) float pre[kChunk * kLanes];
  alignas(64) float out[kChunk * kLanes] = {};
  for (std::int64_t s = 0; s < source.samples; ++s) {
    SampleCounts sample;
    for (std::int64_t g = 0; g < source.groups; ++g) {
      const float* group = source.data + s * source.sample_stride + g * source.group_stride + first;
      for (std::int64_t p = 0; p < source.positions; p += kChunk) {
        const float* x = group + p * source.position_stride;
        const std::int64_t rows = smaller(kChunk, source.positions - p);
        if (clamped.applies && channels == kLanes) {
          Partial partial;
          if (add_clamped({x, source.position_stride, nullptr, rows}, rule, clamped, partial)) {
            flush<Target::EachLane>(partial, kLanes, block, lane, sample);
            continue;
          }
        }
        apply_rows(activation, x, out, rows, channels, source.position_stride, kLanes,
                   source.first_channel + first);
        Chunk chunk = {x, source.position_stride, out, rows};
        if (channels < kLanes) {
          // Whole vectors would read beyond the row.
          for (std::int64_t r = 0; r < rows; ++r) {
            store(pre + r * kLanes, load_partial(x + r * source.position_stride, channels));
          }
          chunk.pre = pre;
          chunk.stride = kLanes;
        }
        // Lanes beyond `channels` hold zeros, and flush() drops them.
        flush<Target::FirstLanes>(totals(chunk, kLanes, rule), channels, block, lane, sample);
      }
    }
    finish_sample(sample, channels, source.groups * source.positions, block, lane);
  }
}

/// One channel whose positions are contiguous.
void accumulate_channel(const StatisticsSource& source, const Activation& activation, const Rule& rule,
                        const FastClamp& clamped, StatisticsBlock& block, std::int64_t lane) {
  alignas(64) float out[kChunk * kLanes] = {};
  for (std::int64_t s = 0; s < source.samples; ++s) {
    SampleCounts sample;
    for (std::int64_t g = 0; g < source.groups; ++g) {
      const float* group = source.data + s * source.sample_stride + g * source.group_stride;
      for (std::int64_t p = 0; p < source.positions; p += kChunk * kLanes) {
        const float* x = group + p;
        const std::int64_t n = smaller(kChunk * kLanes, source.positions - p);
        const std::int64_t rows = n / kLanes;
        if (clamped.applies && rows * kLanes == n) {
          Partial partial;
          if (add_clamped({x, kLanes, nullptr, rows}, rule, clamped, partial)) {
            flush<Target::OneChannel>(partial, kLanes, block, lane, sample);
            continue;
          }
        }
        apply_channel(activation, x, out, n, source.first_channel);
        if (rows > 0)
          flush<Target::OneChannel>(totals({x, kLanes, out, rows}, kLanes, rule), kLanes, block, lane,
                                    sample);
        if (rows * kLanes < n) {
          alignas(64) float last[kLanes];
          store(last, load_partial(x + rows * kLanes, n - rows * kLanes));
          const Chunk rest = {last, kLanes, out + rows * kLanes, 1};
          flush<Target::OneChannel>(totals(rest, n - rows * kLanes, rule), kLanes, block, lane, sample);
        }
      }
    }
    finish_sample(sample, 1, source.groups * source.positions, block, lane);
  }
}

void accumulate(const StatisticsSource& source, const Activation& activation, const FiringRule& firing,
                StatisticsBlock& block, int lane) {
  const Rule rule(firing);
  const FastClamp clamped(activation, firing);
  if (source.channels == 1 && source.position_stride == 1) {
    accumulate_channel(source, activation, rule, clamped, block, lane);
    return;
  }
  for (std::int64_t first = 0; first < source.channels; first += kLanes) {
    accumulate_rows(source, first, smaller(kLanes, source.channels - first), activation, rule, clamped, block,
                    lane + first);
  }
}

}  // namespace

const StatisticsKernels kStatistics = {.accumulate = accumulate, .add_pieces = add_pieces};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
