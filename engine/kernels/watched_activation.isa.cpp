#include "kernels/watched_activation.hpp"

#include "kernels/statistics_chunk.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// Relu, or a Clip from 0 up: whatever is asked of the output follows from the input or is a sum.
struct Ramp {
  bool applies = false;
  bool clipped = false;
  float high = __builtin_inff();

  EMBER_INLINE explicit Ramp(const Activation& a)
      : applies(a.kind == ActivationKind::Relu ||
                (a.kind == ActivationKind::Clip && a.alpha == 0.0F && a.beta > 0.0F)),
        clipped(applies && a.kind == ActivationKind::Clip && a.beta <= kLargest),
        high(clipped ? a.beta : __builtin_inff()) {}
};

/// What a chunk adds to the lanes of one vector.
struct ChunkTotals {
  IntVec fired = broadcast(0);
  IntVec saturated = broadcast(0);
  IntVec not_finite = broadcast(0);
  Moments pre, out;
  Vec out_sum_abs = broadcast(0.0F);
};

template <class F>
EMBER_INLINE void for_each_position(const Positions& at, F&& f) {
  for (std::int64_t run = 0; run < at.runs; ++run) {
    float* x = at.first + run * at.run_stride;
    for (std::int64_t i = 0; i < at.length; ++i, x += at.stride) f(x);
  }
}

// A ramp takes two passes over positions that are in L1: with all sums at once there would be one chain of
// each, and every row would have to wait for the row before. What the second pass overwrites, the first has
// found to be regular.

/// What goes in, the residual included, which is stored with it. False when some value is not finite, or its
/// square is not.
template <bool kResidual>
EMBER_INLINE bool measure_input(const Positions& positions, const float* residual, Moments& totals) {
  const std::int64_t step = positions.stride;
  const std::int64_t length = positions.length;
  Moments even;
  Moments odd;
  for (std::int64_t run = 0; run < positions.runs; ++run) {
    float* at = positions.first + run * positions.run_stride;
    const float* added = residual + run * positions.run_stride;
    const auto row = [&](std::int64_t offset, Moments& moments) {
      Vec x = load(at + offset);
      if constexpr (kResidual) {
        x = x + load(added + offset);
        store(at + offset, x);
      }
      moments.add(x);
    };
    std::int64_t i = 0;
    for (; i + 1 < length; i += 2) {
      row(i * step, even);
      row(i * step + step, odd);
    }
    if (i < length) row(i * step, even);
  }
  totals.min = at_most(even.min, odd.min);
  totals.max = at_least(even.max, odd.max);
  totals.sum = even.sum + odd.sum;
  totals.sum_squares = even.sum_squares + odd.sum_squares;
  return xsimd::all(is_finite(totals.sum_squares));
}

struct RampSums {
  Vec out = broadcast(0.0F);
  Vec out_squares = broadcast(0.0F);
  IntVec fired = broadcast(0);
  IntVec saturated = broadcast(0);

  template <bool kClipped>
  EMBER_INLINE void apply(float* at, Vec top) {
    const Vec zero = broadcast(0.0F);
    const Vec x = load(at);
    fired = count_if(x > zero, fired);
    Vec y = at_least(x, zero);
    if constexpr (kClipped) {
      saturated = count_if(x >= top, saturated);
      y = at_most(y, top);
    }
    store(at, y);
    out = out + y;
    out_squares = fmadd(y, y, out_squares);
  }
};

template <bool kClipped>
EMBER_INLINE void apply_ramp(const Positions& positions, float high, ChunkTotals& totals) {
  const std::int64_t step = positions.stride;
  const std::int64_t length = positions.length;
  const Vec top = broadcast(high);
  RampSums even;
  RampSums odd;
  for (std::int64_t run = 0; run < positions.runs; ++run) {
    float* at = positions.first + run * positions.run_stride;
    std::int64_t i = 0;
    for (; i + 1 < length; i += 2) {
      even.apply<kClipped>(at + i * step, top);
      odd.apply<kClipped>(at + i * step + step, top);
    }
    if (i < length) even.apply<kClipped>(at + i * step, top);
  }
  totals.out.sum = even.out + odd.out;
  totals.out.sum_squares = even.out_squares + odd.out_squares;
  totals.fired = even.fired + odd.fired;
  totals.saturated = even.saturated + odd.saturated;
}

EMBER_INLINE void add_residual(const Positions& positions, const float* residual) {
  for (std::int64_t run = 0; run < positions.runs; ++run) {
    const std::int64_t first = run * positions.run_stride;
    for (std::int64_t i = 0; i < positions.length; ++i) {
      float* at = positions.first + first + i * positions.stride;
      store(at, load(at) + load(residual + first + i * positions.stride));
    }
  }
}

/// Any activation, and any values.
EMBER_INLINE void measure(const float* pre, const float* out, std::int64_t rows, const FiringRule& rule,
                          ChunkTotals& result) {
  const Partial partial = totals({pre, kLanes, out, rows}, kLanes, Rule(rule));
  result.fired = to_int(partial.fired);
  result.saturated = to_int(partial.saturated);
  result.not_finite = to_int(partial.not_finite);
  result.pre = partial.pre;
  result.out = partial.out;
  result.out_sum_abs = partial.out_sum_abs;
}

EMBER_INLINE void put_sum(double* to, Vec x, bool more) {
  float from[kLanes];
  store(from, x);
  for (std::int64_t i = 0; i < kLanes; ++i)
    to[i] = more ? to[i] + static_cast<double>(from[i]) : static_cast<double>(from[i]);
}

/// Adds a chunk to lanes [lane, lane + kLanes) of a piece.
template <bool kAll>
EMBER_INLINE void add(const ChunkTotals& chunk, bool saturates, PieceTotals& piece, std::int64_t lane) {
  const std::int64_t v = lane / kLanes;
  const bool begun = piece.begun[v] != 0;
  const auto put_count = [&](std::int32_t* to, IntVec x) {
    store(to + lane, begun ? load(to + lane) + x : x);
  };
  put_count(piece.fired, chunk.fired);
  if (saturates) put_count(piece.saturated, chunk.saturated);
  if (!xsimd::all(chunk.not_finite == broadcast(0))) {
    const bool seen = piece.irregular[v] != 0;
    store(piece.not_finite + lane,
          seen ? load(piece.not_finite + lane) + chunk.not_finite : chunk.not_finite);
    piece.irregular[v] = 1;
  }
  store(piece.pre_min + lane, begun ? at_most(chunk.pre.min, load(piece.pre_min + lane)) : chunk.pre.min);
  store(piece.pre_max + lane, begun ? at_least(chunk.pre.max, load(piece.pre_max + lane)) : chunk.pre.max);
  put_sum(piece.pre_sum + lane, chunk.pre.sum, begun);
  put_sum(piece.pre_sum_squares + lane, chunk.pre.sum_squares, begun);
  put_sum(piece.out_sum + lane, chunk.out.sum, begun);
  put_sum(piece.out_sum_squares + lane, chunk.out.sum_squares, begun);
  if constexpr (kAll) {
    store(piece.out_min + lane, begun ? at_most(chunk.out.min, load(piece.out_min + lane)) : chunk.out.min);
    store(piece.out_max + lane, begun ? at_least(chunk.out.max, load(piece.out_max + lane)) : chunk.out.max);
    put_sum(piece.out_sum_abs + lane, chunk.out_sum_abs, begun);
  }
  piece.begun[v] = 1;
}

/// Any activation of any values, the residual added.
__attribute__((noinline)) void gather_any(const Watch& watch, const Activation& activation,
                                          const Positions& positions, PieceTotals& piece, std::int64_t lane,
                                          std::int64_t channel) {
  alignas(64) float pre[kChunk * kLanes];
  alignas(64) float out[kChunk * kLanes];
  const auto copy_to = [&](float* to) {
    for_each_position(positions, [&](const float* at) {
      store(to, load(at));
      to += kLanes;
    });
  };
  copy_to(pre);
  for (std::int64_t run = 0; run < positions.runs; ++run) {
    float* at = positions.first + run * positions.run_stride;
    apply_rows(activation, at, at, positions.length, kLanes, positions.stride, positions.stride, channel);
  }
  copy_to(out);
  const Ramp ramp(activation);
  ChunkTotals chunk;
  measure(pre, out, positions.runs * positions.length, watch.rule->firing, chunk);
  if (ramp.applies) add<false>(chunk, ramp.clipped, piece, lane);
  else add<true>(chunk, true, piece, lane);
}

void gather(const Watch& watch, const Activation& activation, const Positions& positions,
            const float* residual, PieceTotals& piece, std::int64_t lane, std::int64_t channel) {
  const Ramp ramp(activation);
  if (!ramp.applies) {
    if (residual != nullptr) add_residual(positions, residual);
    gather_any(watch, activation, positions, piece, lane, channel);
    return;
  }
  ChunkTotals chunk;
  const bool regular = residual == nullptr ? measure_input<false>(positions, positions.first, chunk.pre)
                                           : measure_input<true>(positions, residual, chunk.pre);
  if (!regular) {
    gather_any(watch, activation, positions, piece, lane, channel);
    return;
  }
  // Few chunks reach the top.
  if (ramp.clipped && !xsimd::all(chunk.pre.max < broadcast(ramp.high)))
    apply_ramp<true>(positions, ramp.high, chunk);
  else apply_ramp<false>(positions, ramp.high, chunk);
  add<false>(chunk, ramp.clipped, piece, lane);
}

/// Fired positions only: those are never of a value that is not finite, by the rule's ends.
void count_fired(const Watch& watch, const Activation& activation, const Positions& positions,
                 const float* residual, PieceTotals& piece, std::int64_t lane, std::int64_t channel) {
  if (residual != nullptr) add_residual(positions, residual);
  const Vec above = broadcast(watch.rule->firing.fired_above);
  const Vec below = broadcast(watch.rule->firing.fired_below);
  const Ramp ramp(activation);
  IntVec fired(0);
  if (ramp.applies) {
    const Vec zero = broadcast(0.0F);
    const Vec top = broadcast(ramp.high);
    for_each_position(positions, [&](float* at) {
      const Vec x = load(at);
      fired = count_if((x > above) & (x < below), fired);
      store(at, clamp(x, zero, top));
    });
  } else {
    for_each_position(positions, [&](float* at) {
      const Vec x = load(at);
      fired = count_if((x > above) & (x < below), fired);
    });
    for (std::int64_t run = 0; run < positions.runs; ++run) {
      float* at = positions.first + run * positions.run_stride;
      apply_rows(activation, at, at, positions.length, kLanes, positions.stride, positions.stride, channel);
    }
  }
  add_fired(piece, lane, fired);
}

}  // namespace

void apply_watched(const Watch& watch, const Activation& activation, const Positions& positions,
                   const float* residual, std::int64_t channel) {
  PieceTotals& piece = watch.pieces[channel / PieceTotals::kChannels];
  const std::int64_t lane = channel % PieceTotals::kChannels;
  const auto one = watch.rule->counts_only ? count_fired : gather;
  const auto part = [&](std::int64_t offset, std::int64_t runs, std::int64_t length) {
    one(watch, activation, {positions.first + offset, runs, positions.run_stride, length, positions.stride},
        residual == nullptr ? nullptr : residual + offset, piece, lane, channel);
  };
  // Several runs at a time where they fit, else each in parts.
  const std::int64_t runs = positions.length >= kChunk ? 1 : kChunk / positions.length;
  for (std::int64_t run = 0; run < positions.runs; run += runs) {
    const std::int64_t first = run * positions.run_stride;
    const std::int64_t count = positions.runs - run < runs ? positions.runs - run : runs;
    for (std::int64_t at = 0; at < positions.length; at += kChunk) {
      const std::int64_t left = positions.length - at;
      part(first + at * positions.stride, count, left < kChunk ? left : kChunk);
    }
  }
}

namespace {

struct SampleTotals {
  std::int32_t fired[PieceTotals::kChannels] = {};
  std::int32_t saturated[PieceTotals::kChannels] = {};
};

EMBER_INLINE void add_sums(const double* sum, std::int64_t lane, double* to) {
  for (std::int64_t i = lane; i < lane + kLanes; ++i) to[i] += sum[i];
}

EMBER_INLINE void add_extremes(const float* min, const float* max, std::int64_t lane, float* to_min,
                               float* to_max) {
  store(to_min + lane, at_most(load(min + lane), load(to_min + lane)));
  store(to_max + lane, at_least(load(max + lane), load(to_max + lane)));
}

EMBER_INLINE void add_moments(const PieceTotals& piece, const Ramp& ramp, std::int64_t lane,
                              StatisticsBlock& block) {
  add_sums(piece.pre_sum, lane, block.pre_sum);
  add_sums(piece.pre_sum_squares, lane, block.pre_sum_squares);
  add_sums(piece.out_sum, lane, block.out_sum);
  add_sums(piece.out_sum_squares, lane, block.out_sum_squares);
  add_extremes(piece.pre_min, piece.pre_max, lane, block.pre_min, block.pre_max);
  if (ramp.applies) return;
  add_sums(piece.out_sum_abs, lane, block.out_sum_abs);
  add_extremes(piece.out_min, piece.out_max, lane, block.out_min, block.out_max);
}

}  // namespace

void add_pieces(const PieceSource& source, const Activation& activation, const WatchRule& rule,
                StatisticsBlock& block) {
  const Ramp ramp(activation);
  const bool saturates = !ramp.applies || ramp.clipped;
  for (std::int64_t s = 0; s < source.samples; ++s) {
    SampleTotals sample;
    for (std::int64_t part = 0; part < source.parts; ++part) {
      PieceTotals& piece = source.pieces[s * source.sample_stride + part * source.part_stride];
      for (std::int64_t v = 0; v < PieceTotals::kChannels / kLanes; ++v) {
        if (piece.begun[v] == 0) continue;
        const std::int64_t lane = v * kLanes;
        for (std::int64_t i = lane; i < lane + kLanes; ++i) sample.fired[i] += piece.fired[i];
        if (!rule.counts_only) {
          if (saturates) {
            for (std::int64_t i = lane; i < lane + kLanes; ++i) sample.saturated[i] += piece.saturated[i];
          }
          if (piece.irregular[v] != 0) {
            for (std::int64_t i = lane; i < lane + kLanes; ++i) block.not_finite[i] += piece.not_finite[i];
          }
          add_moments(piece, ramp, lane, block);
        }
        piece.begun[v] = piece.irregular[v] = 0;
      }
    }
    for (std::int64_t i = 0; i < PieceTotals::kChannels; ++i) {
      block.positions_fired[i] += sample.fired[i];
      block.samples_fired[i] += sample.fired[i] > 0 ? 1 : 0;
    }
    if (rule.counts_only || !saturates) continue;
    for (std::int64_t i = 0; i < PieceTotals::kChannels; ++i) {
      block.positions_saturated[i] += sample.saturated[i];
      block.samples_saturated[i] += source.positions > 0 && sample.saturated[i] == source.positions ? 1 : 0;
    }
  }
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
