#include "kernels/softmax.hpp"

#include "kernels/long_sum.hpp"
#include "simd/math.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// The largest element, NaN when one is.
float largest(const float* x, std::int64_t n) {
  const float lowest = -__builtin_inff();
  Vec best = broadcast(lowest);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) best = maximum(best, load(x + i));
  if (i < n) best = maximum(best, keep_first(load_partial(x + i, n - i), n - i, lowest));
  return horizontal_max(best);
}

template <class F>
EMBER_INLINE void map(const float* x, float* y, std::int64_t n, F&& f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)));
  if (i < n) store_partial(y + i, f(load_partial(x + i, n - i)), n - i);
}

void rows(const float* x, float* y, std::int64_t count, std::int64_t length, bool logarithm) {
  for (std::int64_t row = 0; row < count; ++row, x += length, y += length) {
    const Vec shift = broadcast(largest(x, length));
    if (logarithm) {
      const double sum = long_sum(x, length, [&](Vec v) { return math::exp_flushed(v - shift); });
      const Vec log_sum = broadcast(static_cast<float>(__builtin_log(sum)));
      map(x, y, length, [&](Vec v) { return v - shift - log_sum; });
    } else {
      map(x, y, length, [&](Vec v) { return math::exp_flushed(v - shift); });
      const double sum = long_sum(y, length, [](Vec v) { return v; });
      const Vec factor = broadcast(static_cast<float>(1.0 / sum));
      map(y, y, length, [&](Vec v) { return v * factor; });
    }
  }
}

/// One vector of columns, `lanes` of them in use.
template <bool kPartial>
EMBER_INLINE void column_strip(const float* x, float* y, std::int64_t length, std::int64_t stride,
                               bool logarithm, std::int64_t lanes) {
  const auto get = [&](const float* from) { return kPartial ? load_partial(from, lanes) : load(from); };
  const auto put = [&](float* to, Vec v) {
    if constexpr (kPartial) store_partial(to, v, lanes);
    else store(to, v);
  };
  Vec shift = get(x);
  for (std::int64_t r = 1; r < length; ++r) shift = maximum(shift, get(x + r * stride));
  // Blocks of rows, so that the error does not grow with their number.
  constexpr std::int64_t kBlock = 128;
  Vec sum = broadcast(0.0F);
  for (std::int64_t start = 0; start < length; start += kBlock) {
    const std::int64_t end = length - start < kBlock ? length : start + kBlock;
    Vec partial = broadcast(0.0F);
    for (std::int64_t r = start; r < end; ++r) {
      const Vec e = math::exp_flushed(get(x + r * stride) - shift);
      partial = partial + e;
      if (!logarithm) put(y + r * stride, e);
    }
    sum = sum + partial;
  }
  if (!logarithm) {
    for (std::int64_t r = 0; r < length; ++r) put(y + r * stride, get(y + r * stride) / sum);
    return;
  }
  float log_sum[kLanes];
  store(log_sum, sum);
  for (float& s : log_sum) s = __builtin_logf(s);
  const Vec offset = load(log_sum);
  for (std::int64_t r = 0; r < length; ++r) put(y + r * stride, get(x + r * stride) - shift - offset);
}

void columns(const float* x, float* y, std::int64_t length, std::int64_t stride, std::int64_t width,
             bool logarithm) {
  std::int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes)
    column_strip<false>(x + c, y + c, length, stride, logarithm, kLanes);
  if (c < width) column_strip<true>(x + c, y + c, length, stride, logarithm, width - c);
}

}  // namespace

extern const SoftmaxKernels kSoftmax;
const SoftmaxKernels kSoftmax = {.rows = rows, .columns = columns};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
