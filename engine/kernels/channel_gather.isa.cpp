#include "kernels/channel_gather.hpp"

#include "kernels/register_tile.hpp"
#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

#if defined(EMBER_ISA_AVX512) || defined(EMBER_ISA_AVX2)

static_assert(kBlock == kLanes);

/// `so_far`, with the lanes whose index is not negative taken from x.
EMBER_INLINE Vec draw(Vec so_far, Vec x, IntVec lanes) {
#if defined(EMBER_ISA_AVX512)
  const __mmask16 given = _mm512_cmpge_epi32_mask(lanes, _mm512_setzero_si512());
  return _mm512_mask_permutexvar_ps(so_far, given, lanes, x);
#else
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(x, lanes), so_far, _mm256_castsi256_ps(lanes));
#endif
}

template <int kCount>
void gather_from(const LaneDraw* draws, std::int64_t positions, float* to) {
  IntVec lanes[kCount];
  const float* from[kCount];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    lanes[i] = load(draws[i].lanes);
    from[i] = draws[i].from;
  }
  for (std::int64_t p = 0; p < positions * kBlock; p += kBlock) {
    Vec result = broadcast(0.0F);
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) result = draw(result, load(from[i] + p), lanes[i]);
    store(to + p, result);
  }
}

void gather_from_many(const LaneDraw* draws, std::int64_t count, std::int64_t positions, float* to) {
  for (std::int64_t p = 0; p < positions * kBlock; p += kBlock) {
    Vec result = broadcast(0.0F);
    for (std::int64_t i = 0; i < count; ++i)
      result = draw(result, load(draws[i].from + p), load(draws[i].lanes));
    store(to + p, result);
  }
}

void gather(const LaneDraw* draws, std::int64_t count, std::int64_t positions, float* to) {
  switch (count) {
    case 1: gather_from<1>(draws, positions, to); break;
    case 2: gather_from<2>(draws, positions, to); break;
    case 3: gather_from<3>(draws, positions, to); break;
    case 4: gather_from<4>(draws, positions, to); break;
    default: gather_from_many(draws, count, positions, to); break;
  }
}

#else

void gather(const LaneDraw* draws, std::int64_t count, std::int64_t positions, float* to) {
  constexpr float kZeros[kBlock] = {};
  const float* from[kBlock];
  std::int64_t step[kBlock];
  for (std::int64_t lane = 0; lane < kBlock; ++lane) {
    from[lane] = kZeros;
    step[lane] = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      if (draws[i].lanes[lane] < 0) continue;
      from[lane] = draws[i].from + draws[i].lanes[lane];
      step[lane] = kBlock;
    }
  }
  for (std::int64_t p = 0; p < positions; ++p, to += kBlock) {
    for (std::int64_t lane = 0; lane < kBlock; ++lane) to[lane] = from[lane][p * step[lane]];
  }
}

#endif

}  // namespace

extern const ChannelGatherKernels kChannelGather;
const ChannelGatherKernels kChannelGather = {.gather = gather};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
