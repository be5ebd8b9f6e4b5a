#include "kernels/resize.hpp"

#include "kernels/vector_loop.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// from[index[0]], from[index[1]], … in the first `lanes` lanes.
EMBER_INLINE Vec gather(const float* from, const std::int32_t* index, std::int64_t lanes) {
#if defined(EMBER_ISA_AVX512)
  if (lanes == kLanes) return _mm512_i32gather_ps(_mm512_loadu_si512(index), from, 4);
#elif defined(EMBER_ISA_AVX2)
  if (lanes == kLanes)
    return _mm256_i32gather_ps(from, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)), 4);
#endif
  float lane[kLanes] = {};
  for (std::int64_t i = 0; i < lanes; ++i) lane[i] = from[index[i]];
  return load(lane);
}

void blend_rows(const float* const* rows, const float* weights, std::int64_t taps, float* to,
                std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t lanes) {
    Vec sum = broadcast(weights[0]) * get(rows[0] + i, lanes);
    for (std::int64_t t = 1; t < taps; ++t) sum = fmadd(broadcast(weights[t]), get(rows[t] + i, lanes), sum);
    put(to + i, sum, lanes);
  });
}

/// Columns one float wide: neighbouring outputs in one vector.
void blend_single(const float* from, const ColumnTaps& c, float* to) {
  for_each_vector(c.outputs, [&](std::int64_t o, std::int64_t lanes) {
    Vec sum = get(c.weight + o, lanes) * gather(from, c.index + o, lanes);
    for (std::int64_t t = 1; t < c.taps; ++t) {
      const std::int64_t at = t * c.outputs + o;
      sum = fmadd(get(c.weight + at, lanes), gather(from, c.index + at, lanes), sum);
    }
    put(to + o, sum, lanes);
  });
}

void blend_columns(const float* from, const ColumnTaps& c, std::int64_t inner, float* to) {
  if (inner == 1) {
    blend_single(from, c, to);
    return;
  }
  for (std::int64_t o = 0; o < c.outputs; ++o, to += inner) {
    for_each_vector(inner, [&](std::int64_t i, std::int64_t lanes) {
      Vec sum = broadcast(c.weight[o]) * get(from + c.index[o] * inner + i, lanes);
      for (std::int64_t t = 1; t < c.taps; ++t) {
        const std::int64_t at = t * c.outputs + o;
        sum = fmadd(broadcast(c.weight[at]), get(from + c.index[at] * inner + i, lanes), sum);
      }
      put(to + i, sum, lanes);
    });
  }
}

void pick_columns(const float* from, const ColumnTaps& c, std::int64_t inner, float* to) {
  if (inner == 1) {
    for (std::int64_t o = 0; o < c.outputs; ++o) to[o] = from[c.index[o]];
    return;
  }
  for (std::int64_t o = 0; o < c.outputs; ++o, to += inner) {
    const float* column = from + c.index[o] * inner;
    for_each_vector(inner,
                    [&](std::int64_t i, std::int64_t lanes) { put(to + i, get(column + i, lanes), lanes); });
  }
}

}  // namespace

extern const ResizeKernels kResize;
const ResizeKernels kResize = {
    .blend_rows = blend_rows, .blend_columns = blend_columns, .pick_columns = pick_columns};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
