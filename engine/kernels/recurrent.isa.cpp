#include "kernels/recurrent.hpp"

#include "kernels/vector_loop.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

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
