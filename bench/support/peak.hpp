#pragma once

#include <string_view>

namespace ember::bench {

/// Floating-point operations per second that one core reaches with nothing but independent multiply-adds of
/// `isa` ("sse42", "avx2", "avx512"), a multiply-add counting as two. Measured once (about 50 ms), on the
/// calling thread; the fastest of several rounds, since whatever else the machine does only slows it.
/// Throws std::invalid_argument for another name.
double fma_peak(std::string_view isa);

/// Bytes per second that one core reads from memory, from an array far larger than the caches. Measured once.
double read_bandwidth();

}  // namespace ember::bench
