#include "kernels/quantize.hpp"

#include "kernels/vector_loop.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

EMBER_INLINE Vec parameter(const float* values, std::int64_t stride, std::int64_t i, std::int64_t lanes) {
  return stride == 0 ? broadcast(values[0]) : get(values + i, lanes);
}

template <int kLow, int kHigh, class T>
void to_integer(const float* x, const QuantizationRun& run, T* y, std::int64_t n) {
  const Vec low = broadcast(static_cast<float>(kLow));
  const Vec high = broadcast(static_cast<float>(kHigh));
  const QuantizationRun r = run;  // y may alias anything a byte can
  for_each_vector(n, [&](std::int64_t i, std::int64_t lanes) {
    const Vec scale = parameter(r.scale, r.stride, i, lanes);
    const Vec zero = parameter(r.zero_point, r.stride, i, lanes);
    const Vec moved = round_even(get(x + i, lanes) / scale) + zero;
    const Vec held = at_most(select(moved > low, moved, low), high);
    std::int32_t whole[kLanes];
    store(whole, to_int(held));
    for (std::int64_t lane = 0; lane < lanes; ++lane) y[i + lane] = static_cast<T>(whole[lane]);
  });
}

template <class T>
void from_integer(const T* x, const QuantizationRun& run, float* y, std::int64_t n) {
  const QuantizationRun r = run;
  for_each_vector(n, [&](std::int64_t i, std::int64_t lanes) {
    std::int32_t whole[kLanes] = {};
    for (std::int64_t lane = 0; lane < lanes; ++lane) whole[lane] = x[i + lane];
    const Vec zero = parameter(r.zero_point, r.stride, i, lanes);
    put(y + i, (to_float(load(whole)) - zero) * parameter(r.scale, r.stride, i, lanes), lanes);
  });
}

}  // namespace

extern const QuantizeKernels kQuantize;
const QuantizeKernels kQuantize = {.to_int8 = to_integer<-128, 127, std::int8_t>,
                                   .to_uint8 = to_integer<0, 255, std::uint8_t>,
                                   .from_int8 = from_integer<std::int8_t>,
                                   .from_uint8 = from_integer<std::uint8_t>};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
