#include "kernels/recurrent.hpp"

#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// Calls step(first element, lanes) for whole vectors, then once for what is left.
template <class Step>
EMBER_INLINE void for_each_vector(std::int64_t n, Step&& step) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) step(i, kLanes);
  if (i < n) step(i, n - i);
}

EMBER_INLINE Vec get(const float* from, std::int64_t lanes) {
  return lanes == kLanes ? load(from) : load_partial(from, lanes);
}

EMBER_INLINE void put(float* to, Vec x, std::int64_t lanes) {
  if (lanes == kLanes) store(to, x);
  else store_partial(to, x, lanes);
}

void multiply(const float* a, const float* b, float* y, std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t lanes) {
    put(y + i, get(a + i, lanes) * get(b + i, lanes), lanes);
  });
}

void accumulate(const float* a, const float* b, float* y, std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t lanes) {
    put(y + i, fmadd(get(a + i, lanes), get(b + i, lanes), get(y + i, lanes)), lanes);
  });
}

void lstm_state(const float* forget, const float* input, const float* candidate, float* state,
                std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t lanes) {
    const Vec kept = get(forget + i, lanes) * get(state + i, lanes);
    put(state + i, fmadd(get(input + i, lanes), get(candidate + i, lanes), kept), lanes);
  });
}

void gru_state(const float* update, const float* candidate, float* h, std::int64_t n) {
  const Vec one = broadcast(1.0F);
  for_each_vector(n, [&](std::int64_t i, std::int64_t lanes) {
    const Vec z = get(update + i, lanes);
    put(h + i, fmadd(one - z, get(candidate + i, lanes), z * get(h + i, lanes)), lanes);
  });
}

}  // namespace

extern const RecurrentKernels kRecurrent;
const RecurrentKernels kRecurrent = {
    .multiply = multiply, .accumulate = accumulate, .lstm_state = lstm_state, .gru_state = gru_state};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
