#include "kernels/normalization.hpp"

#include "kernels/activation_math.hpp"
#include "kernels/long_sum.hpp"
#include "simd/lanes.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// f(lane index, count): calls it for whole vectors, then for the rest.
template <class F>
EMBER_INLINE void for_each_vector(std::int64_t n, F&& f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, n - i);
}
EMBER_INLINE Vec get(const float* from, std::int64_t lanes) {
  return lanes == kLanes ? load(from) : load_partial(from, lanes);
}
EMBER_INLINE void put(float* to, Vec x, std::int64_t lanes) {
  if (lanes == kLanes) store(to, x);
  else store_partial(to, x, lanes);
}

void affine_rows(const float* x, float* y, std::int64_t rows, std::int64_t width, const float* scale,
                 const float* shift, const Activation& activation) {
  with_register_activation(activation, [&](auto kind) {
    const ActivationConstants c = constants(activation);
    for (std::int64_t row = 0; row < rows; ++row, x += width, y += width) {
      for_each_vector(width, [&](std::int64_t i, std::int64_t lanes) {
        const Vec v = fmadd(get(x + i, lanes), get(scale + i, lanes), get(shift + i, lanes));
        put(y + i, apply<decltype(kind)::value>(v, c), lanes);
      });
    }
  });
}

void affine(const float* x, float* y, std::int64_t n, float scale, float shift,
            const Activation& activation) {
  with_register_activation(activation, [&](auto kind) {
    const ActivationConstants c = constants(activation);
    const Vec factor = broadcast(scale);
    const Vec offset = broadcast(shift);
    for_each_vector(n, [&](std::int64_t i, std::int64_t lanes) {
      put(y + i, apply<decltype(kind)::value>(fmadd(get(x + i, lanes), factor, offset), c), lanes);
    });
  });
}

void moments(const float* x, std::int64_t n, double* mean, double* variance) {
  *mean = long_sum(x, n, [](Vec v) { return v; }) / static_cast<double>(n);
  // The rounding of the float centre is taken out again.
  const auto centre = static_cast<float>(*mean);
  const Vec c = broadcast(centre);
  const double squares = long_sum(x, n, [&](Vec v) { return (v - c) * (v - c); });
  const double off = *mean - static_cast<double>(centre);
  const double spread = squares / static_cast<double>(n) - off * off;
  *variance = spread < 0 ? 0 : spread;
}

double mean_square(const float* x, std::int64_t n) {
  return long_sum(x, n, [](Vec v) { return v * v; }) / static_cast<double>(n);
}

void normalize(const float* x, float* y, std::int64_t n, float mean, float inverse, const float* scale,
               const float* shift) {
  const Vec centre = broadcast(mean);
  const Vec factor = broadcast(inverse);
  for_each_vector(n, [&](std::int64_t i, std::int64_t lanes) {
    const Vec unit = (get(x + i, lanes) - centre) * factor;
    const Vec offset = shift != nullptr ? get(shift + i, lanes) : broadcast(0.0F);
    put(y + i, fmadd(unit, get(scale + i, lanes), offset), lanes);
  });
}

/// 1 / v^beta
EMBER_INLINE Vec inverse_power(Vec v, float beta) {
  const Vec one = broadcast(1.0F);
  if (beta == 0.75F) return one / (sqrt(v) * sqrt(sqrt(v)));
  if (beta == 0.5F) return one / sqrt(v);
  if (beta == 1.0F) return one / v;
  float lanes[kLanes];
  store(lanes, v);
  for (float& lane : lanes) lane = __builtin_powf(lane, -beta);
  return load(lanes);
}

void lrn(const float* x, float* y, std::int64_t n, std::int64_t stride, const LrnWindow& window) {
  const Vec bias = broadcast(window.bias);
  const Vec factor = broadcast(window.factor);
  for_each_vector(n, [&](std::int64_t i, std::int64_t lanes) {
    Vec squares = broadcast(0.0F);
    for (std::int64_t k = -window.before; k <= window.after; ++k) {
      const Vec v = get(x + k * stride + i, lanes);
      squares = fmadd(v, v, squares);
    }
    put(y + i, get(x + i, lanes) * inverse_power(fmadd(squares, factor, bias), window.beta), lanes);
  });
}

}  // namespace

extern const NormalizationKernels kNormalization;
const NormalizationKernels kNormalization = {
    .affine_rows = affine_rows,
    .affine = affine,
    .moments = moments,
    .mean_square = mean_square,
    .normalize = normalize,
    .lrn = lrn,
};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
