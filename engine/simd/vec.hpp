#pragma once

// The facade over xsimd. Included only by *.isa.cpp files, which are compiled once per instruction
// set with EMBER_ISA_NAMESPACE set; everything lives in that namespace so that no symbol is shared
// between instruction sets.

#include <cstdint>

#include <xsimd/xsimd.hpp>

#if !defined(EMBER_ISA_NAMESPACE)
#error "simd/vec.hpp is for files compiled per instruction set (*.isa.cpp)"
#endif

#define EMBER_INLINE inline __attribute__((always_inline))

namespace ember::kernels::EMBER_ISA_NAMESPACE {

#if defined(EMBER_ISA_AVX512)
using Arch = xsimd::avx512bw;
#elif defined(EMBER_ISA_AVX2)
using Arch = xsimd::fma3<xsimd::avx2>;
#elif defined(EMBER_ISA_SSE42)
using Arch = xsimd::sse4_2;
#elif defined(EMBER_ISA_NEON)
using Arch = xsimd::neon64;
#endif

/// A vector of floats, as wide as the instruction set.
using Vec = xsimd::batch<float, Arch>;
inline constexpr std::int64_t kLanes = static_cast<std::int64_t>(Vec::size);

/// a b + c with one rounding where the hardware has it. xsimd 8.1's AVX-512 fma is x*y+z, fused only
/// if the compiler contracts it, so the instruction is named here.
EMBER_INLINE Vec fmadd(Vec a, Vec b, Vec c) {
#if defined(EMBER_ISA_AVX512)
  return _mm512_fmadd_ps(a, b, c);
#else
  return xsimd::fma(a, b, c);
#endif
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
