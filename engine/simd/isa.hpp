#pragma once

#include <string_view>
#include <vector>

namespace ember::simd {

/// Instruction sets that kernels are compiled for, weakest first.
enum class Isa { Sse42, Avx2, Avx512 };

/// "sse42", "avx2" (with FMA), "avx512" (F, BW, DQ, VL).
std::string_view to_string(Isa isa) noexcept;

/// The instruction sets this processor and operating system can run, weakest first.
std::vector<Isa> available_isas();

/// The best available one, or the one that the environment variable EMBER_ISA names. Throws Error
/// (InvalidArgument) for an unknown name or one this machine lacks; the choice is made afresh per call.
Isa choose_isa();

}  // namespace ember::simd
