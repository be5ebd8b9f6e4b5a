#include "simd/isa.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ember/error.hpp>

namespace ember::simd {

std::string_view to_string(Isa isa) noexcept {
  switch (isa) {
    case Isa::Sse42: return "sse42";
    case Isa::Avx2: return "avx2";
    case Isa::Avx512: return "avx512";
  }
  return "unknown";
}

std::vector<Isa> available_isas() {
  // __builtin_cpu_supports reads CPUID and XCR0; xsimd 8.1's own detection does neither correctly.
  __builtin_cpu_init();
  std::vector<Isa> found;
  if (__builtin_cpu_supports("sse4.2")) found.push_back(Isa::Sse42);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(Isa::Avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    found.push_back(Isa::Avx512);
  }
  return found;
}

Isa choose_isa() {
  const std::vector<Isa> available = available_isas();
  if (available.empty()) {
    throw Error(ErrorCode::Unsupported, "this processor has no SSE4.2, the least that ember's kernels need");
  }
  const char* forced = std::getenv("EMBER_ISA");
  if (forced == nullptr || *forced == '\0') return available.back();
  const auto named = std::ranges::find_if(available, [&](Isa isa) { return to_string(isa) == forced; });
  if (named == available.end()) {
    std::vector<std::string_view> names;
    for (const Isa isa : available) names.push_back(to_string(isa));
    throw Error(ErrorCode::InvalidArgument,
                fmt::format("EMBER_ISA={} is not available on this machine", forced),
                {.cure = fmt::format("use one of: {}", fmt::join(names, ", "))});
  }
  return *named;
}

}  // namespace ember::simd
