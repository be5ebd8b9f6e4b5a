#include "support/peak.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

// The measured limits that benchmarks are held against. x86 only, as the instruction sets are.

namespace ember::bench {

namespace {

constexpr int kChains = 12;  // covers latency × throughput of every multiply-add unit so far
constexpr int kSteps = 20'000;
constexpr int kRounds = 60;

volatile float sink;

// Each chain starts elsewhere, or the compiler would keep one of them.

// A multiply and an add are two instructions here, which is what SSE4.2 has.
__attribute__((target("sse4.2"))) void chains_sse42() {
  const __m128 factor = _mm_set1_ps(0.999F);
  __m128 sums[kChains];
  for (int chain = 0; chain < kChains; ++chain) sums[chain] = _mm_set1_ps(static_cast<float>(chain));
  for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
    for (__m128& sum : sums) sum = _mm_add_ps(_mm_mul_ps(sum, factor), factor);
  }
  for (const __m128& sum : sums) sink = _mm_cvtss_f32(sum);
}

__attribute__((target("avx2,fma"))) void chains_avx2() {
  const __m256 factor = _mm256_set1_ps(0.999F);
  __m256 sums[kChains];
  for (int chain = 0; chain < kChains; ++chain) sums[chain] = _mm256_set1_ps(static_cast<float>(chain));
  for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, factor);
  }
  for (const __m256& sum : sums) sink = _mm256_cvtss_f32(sum);
}

__attribute__((target("avx512f"))) void chains_avx512() {
  const __m512 factor = _mm512_set1_ps(0.999F);
  __m512 sums[kChains];
  for (int chain = 0; chain < kChains; ++chain) sums[chain] = _mm512_set1_ps(static_cast<float>(chain));
  for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, factor);
  }
  for (const __m512& sum : sums) sink = _mm512_cvtss_f32(sum);
}

template <class Action>
double fastest_seconds(int rounds, const Action& action) {
  double fastest = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    action();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    fastest = std::min(fastest, taken.count());
  }
  return fastest;
}

}  // namespace

double fma_peak(std::string_view isa) {
  struct Chains {
    void (*run)();
    int lanes;
  };
  static const std::map<std::string_view, Chains> kChainsOf = {
      {"sse42", {chains_sse42, 4}}, {"avx2", {chains_avx2, 8}}, {"avx512", {chains_avx512, 16}}};
  static std::map<std::string_view, double> measured;
  const auto chains = kChainsOf.find(isa);
  if (chains == kChainsOf.end()) throw std::invalid_argument("no peak is known for " + std::string(isa));
  double& peak = measured[chains->first];
  if (peak == 0) {
    const double operations = 2.0 * kChains * kSteps * chains->second.lanes;
    peak = operations / fastest_seconds(kRounds, chains->second.run);
  }
  return peak;
}

double read_bandwidth() {
  constexpr std::size_t kValues = std::size_t{96} << 20;
  constexpr std::size_t kHugePage = std::size_t{2}
                                    << 20;  // as the engine asks for: fewer addresses to translate
  static const double measured = [] {
    const std::unique_ptr<float, decltype(&std::free)> memory(
        static_cast<float*>(std::aligned_alloc(kHugePage, kValues * sizeof(float))), std::free);
    if (memory == nullptr) throw std::bad_alloc();
    float* const values = memory.get();
#if defined(__linux__)
    ::madvise(values, kValues * sizeof(float), MADV_HUGEPAGE);
#endif
    std::fill_n(values, kValues, 1.0F);
    const double seconds = fastest_seconds(5, [&] {
      __m128 sums[8] = {};
      for (std::size_t i = 0; i < kValues; i += 32) {
#pragma GCC unroll 8
        for (std::size_t lane = 0; lane < 8; ++lane)
          sums[lane] = _mm_add_ps(sums[lane], _mm_load_ps(values + i + 4 * lane));
      }
      for (const __m128& sum : sums) sink = _mm_cvtss_f32(sum);
    });
    return static_cast<double>(kValues * sizeof(float)) / seconds;
  }();
  return measured;
}

}  // namespace ember::bench
