#pragma once

// Pointwise convolutions of few channels, whose sums are so short that what a register tile costs besides
// them counts. Included only by *.isa.cpp files.

#include "kernels/convolution.hpp"
#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// Whether run_pointwise() does the job: one row of neighbours, blocked on both sides.
bool is_narrow_pointwise(const ConvJob& job);

/// Outputs [begin, end) of the column tiles [tile_begin, tile_end), summed in the order of any other tile.
void run_pointwise(const ConvJob& job, std::int64_t begin, std::int64_t end, std::int64_t tile_begin,
                   std::int64_t tile_end);

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
