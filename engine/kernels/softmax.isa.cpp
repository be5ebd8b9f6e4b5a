#include "kernels/softmax.hpp"

#include "kernels/long_sum.hpp"
#include "kernels/vector_loop.hpp"
#include "simd/lanes.hpp"
#include "simd/math.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// The largest element, NaN when one is; several chains, as each is long.
template <class Get>
EMBER_INLINE float largest(std::int64_t n, Get&& get_at) {
  const float lowest = -__builtin_inff();
  Vec best[4] = {broadcast(lowest), broadcast(lowest), broadcast(lowest), broadcast(lowest)};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) best[k] = maximum(best[k], get_at(i + k * kLanes, kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) best[0] = maximum(best[0], get_at(i, kLanes));
  if (i < n) best[1] = maximum(best[1], keep_first(get_at(i, n - i), n - i, lowest));
  return max_lanes(maximum(maximum(best[0], best[1]), maximum(best[2], best[3])));
}

float largest(const float* x, std::int64_t n) {
  return largest(n, [&](std::int64_t i, std::int64_t lanes) { return get(x + i, lanes); });
}

/// y = e^(x − shift); returns their sum, in blocks so that its error does not grow with the length.
double exponentials(const float* x, float* y, std::int64_t n, Vec shift) {
  constexpr std::int64_t kBlock = 1024;
  double total = 0;
  for (std::int64_t start = 0; start < n; start += kBlock) {
    const std::int64_t end = n - start < kBlock ? n : start + kBlock;
    Vec sums[2] = {broadcast(0.0F), broadcast(0.0F)};
    std::int64_t i = start;
    for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
#pragma GCC unroll 2
      for (int k = 0; k < 2; ++k) {
        const Vec e = math::exp_flushed(load(x + i + k * kLanes) - shift);
        store(y + i + k * kLanes, e);
        sums[k] = sums[k] + e;
      }
    }
    for (; i < end; i += kLanes) {
      const std::int64_t lanes = end - i < kLanes ? end - i : kLanes;
      const Vec e = math::exp_flushed(get(x + i, lanes) - shift);
      put(y + i, e, lanes);
      sums[0] = sums[0] + (lanes == kLanes ? e : keep_first(e, lanes, 0.0F));
    }
    total += static_cast<double>(sum_lanes(sums[0] + sums[1]));
  }
  return total;
}

void weights(float* x, std::int64_t rows, std::int64_t length, std::int64_t x_row, const float* mask,
             std::int64_t mask_row, float* inverse) {
  for (std::int64_t row = 0; row < rows; ++row, x += x_row) {
    float most = 0;
    if (mask == nullptr) {
      most = largest(x, length);
    } else {
      const float* added = mask + row * mask_row;
      most = largest(length, [&](std::int64_t i, std::int64_t lanes) {
        const Vec v = get(x + i, lanes) + get(added + i, lanes);
        put(x + i, v, lanes);
        return v;
      });
    }
    inverse[row] = static_cast<float>(1.0 / exponentials(x, x, length, broadcast(most)));
  }
}

void scale_rows(float* y, std::int64_t rows, std::int64_t length, std::int64_t y_row, const float* factors) {
  for (std::int64_t row = 0; row < rows; ++row, y += y_row) {
    const Vec factor = broadcast(factors[row]);
    for_each_vector(
        length, [&](std::int64_t i, std::int64_t lanes) { put(y + i, get(y + i, lanes) * factor, lanes); });
  }
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
      const double sum = exponentials(x, y, length, shift);
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
const SoftmaxKernels kSoftmax = {
    .rows = rows, .columns = columns, .weights = weights, .scale_rows = scale_rows};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
