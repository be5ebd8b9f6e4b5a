#include "kernels/reduce.hpp"

#include "kernels/long_sum.hpp"
#include "simd/lanes.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

constexpr bool is_sum(ReduceOp op) {
  return op == ReduceOp::Sum || op == ReduceOp::SumOfMagnitudes || op == ReduceOp::SumOfSquares;
}

constexpr float start_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::Product: return 1.0F;
    case ReduceOp::Max: return -__builtin_inff();
    case ReduceOp::Min: return __builtin_inff();
    default: return 0.0F;
  }
}

/// What is summed of an element.
template <ReduceOp kOp>
EMBER_INLINE Vec term(Vec x) {
  if constexpr (kOp == ReduceOp::SumOfMagnitudes) return abs(x);
  else if constexpr (kOp == ReduceOp::SumOfSquares) return x * x;
  else return x;
}

template <ReduceOp kOp>
EMBER_INLINE Vec combine(Vec a, Vec x) {
  if constexpr (kOp == ReduceOp::Product) return a * x;
  else if constexpr (kOp == ReduceOp::Max) return maximum(a, x);
  else if constexpr (kOp == ReduceOp::Min) return minimum(a, x);
  else return a + term<kOp>(x);
}

template <ReduceOp kOp>
struct ReduceConstant {
  static constexpr ReduceOp value = kOp;
};

template <class F>
EMBER_INLINE void with_op(ReduceOp op, F&& f) {
  using enum ReduceOp;
  switch (op) {
    case Sum: f(ReduceConstant<Sum>{}); break;
    case SumOfMagnitudes: f(ReduceConstant<SumOfMagnitudes>{}); break;
    case SumOfSquares: f(ReduceConstant<SumOfSquares>{}); break;
    case Product: f(ReduceConstant<Product>{}); break;
    case Max: f(ReduceConstant<Max>{}); break;
    case Min: f(ReduceConstant<Min>{}); break;
  }
}

// ---- along a run

template <ReduceOp kOp>
float reduce_run(const float* x, std::int64_t n) {
  if constexpr (is_sum(kOp)) {
    return static_cast<float>(long_sum(x, n, [](Vec v) { return term<kOp>(v); }));
  } else {
    Vec a = broadcast(start_of(kOp)), b = a;
    std::int64_t i = 0;
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      a = combine<kOp>(a, load(x + i));
      b = combine<kOp>(b, load(x + i + kLanes));
    }
    for (; i < n; i += kLanes) {
      const std::int64_t rest = n - i < kLanes ? n - i : kLanes;
      a = combine<kOp>(a, keep_first(load_partial(x + i, rest), rest, start_of(kOp)));
    }
    a = combine<kOp>(a, b);
    if constexpr (kOp == ReduceOp::Max) return max_lanes(a);
    else if constexpr (kOp == ReduceOp::Min) return min_lanes(a);
    else return product_lanes(a);
  }
}

float run(ReduceOp op, const float* x, std::int64_t n) {
  float result = 0;
  with_op(op, [&](auto chosen) { result = reduce_run<decltype(chosen)::value>(x, n); });
  return result;
}

// ---- down columns

/// kVectors vectors side by side; the last may be partial (`rest` lanes of it). Sums are made of blocks of
/// rows, so that the error does not grow with their number.
template <ReduceOp kOp, int kVectors, bool kPartial>
EMBER_INLINE void column_strip(const float* x, float* y, std::int64_t count, std::int64_t stride,
                               std::int64_t rest) {
  constexpr std::int64_t kBlock = 128;
  Vec total[kVectors];
  for (Vec& t : total) t = broadcast(start_of(kOp));
  for (std::int64_t start = 0; start < count; start += kBlock) {
    const std::int64_t end = count - start < kBlock ? count : start + kBlock;
    Vec sum[kVectors];
    for (Vec& s : sum) s = broadcast(start_of(kOp));
    for (std::int64_t r = start; r < end; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const float* from = x + r * stride + v * kLanes;
        sum[v] = combine<kOp>(sum[v], kPartial ? load_partial(from, rest) : load(from));
      }
    }
    for (int v = 0; v < kVectors; ++v)
      total[v] = is_sum(kOp) ? total[v] + sum[v] : combine<kOp>(total[v], sum[v]);
  }
  for (int v = 0; v < kVectors; ++v) {
    if constexpr (kPartial) store_partial(y, total[v], rest);
    else store(y + v * kLanes, total[v]);
  }
}

void columns(ReduceOp op, const float* x, float* y, std::int64_t count, std::int64_t stride,
             std::int64_t width) {
  with_op(op, [&](auto chosen) {
    constexpr ReduceOp kOp = decltype(chosen)::value;
    std::int64_t c = 0;
    for (; c + 4 * kLanes <= width; c += 4 * kLanes)
      column_strip<kOp, 4, false>(x + c, y + c, count, stride, 0);
    for (; c + kLanes <= width; c += kLanes) column_strip<kOp, 1, false>(x + c, y + c, count, stride, 0);
    if (c < width) column_strip<kOp, 1, true>(x + c, y + c, count, stride, width - c);
  });
}

// ---- the place of the extreme

std::int64_t arg_run(bool max, bool last, const float* x, std::int64_t n) {
  const float extreme = max ? reduce_run<ReduceOp::Max>(x, n) : reduce_run<ReduceOp::Min>(x, n);
  const auto found = [&](float value) { return extreme != extreme ? value != value : value == extreme; };
  if (last) {
    std::int64_t i = n - 1;
    while (i > 0 && !found(x[i])) --i;
    return i;
  }
  std::int64_t i = 0;
  while (i < n - 1 && !found(x[i])) ++i;
  return i;
}

void arg_columns(bool max, bool last, const float* x, std::int64_t* y, std::int64_t count,
                 std::int64_t stride, std::int64_t width) {
  constexpr std::int64_t kStrip = 64;
  for (std::int64_t start = 0; start < width; start += kStrip) {
    const std::int64_t n = width - start < kStrip ? width - start : kStrip;
    float best[kStrip];
    for (std::int64_t c = 0; c < n; ++c) {
      best[c] = x[start + c];
      y[start + c] = 0;
    }
    for (std::int64_t r = 1; r < count; ++r) {
      const float* row = x + r * stride + start;
      for (std::int64_t c = 0; c < n; ++c) {
        const float value = row[c];
        const bool better = best[c] != best[c] ? last && value != value
                            : value != value   ? true
                            : value == best[c] ? last
                                               : (value > best[c]) == max;
        if (!better) continue;
        best[c] = value;
        y[start + c] = r;
      }
    }
  }
}

}  // namespace

extern const ReduceKernels kReduce;
const ReduceKernels kReduce = {
    .run = run, .columns = columns, .arg_run = arg_run, .arg_columns = arg_columns};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
