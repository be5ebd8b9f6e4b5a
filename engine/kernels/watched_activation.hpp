#pragma once

// An activation that is watched while it is applied. Included only by *.isa.cpp files.

#include "kernels/statistics.hpp"
#include "simd/count.hpp"
#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// Rows of a chunk: what float32 partial sums run over, what the buffers of activations hold, and how much is
/// watched at a time where a kernel can choose, for all of it should still be in L1.
inline constexpr std::int64_t kChunk = 128;

/// Positions of one vector of channels that lie in memory as runs of equal length.
struct Positions {
  float* first;
  std::int64_t runs;
  std::int64_t run_stride;
  std::int64_t length;  ///< of a run
  std::int64_t stride;  ///< between its positions
};

/// Adds what fired to lanes [lane, lane + kLanes) of a piece whose firing alone is counted.
EMBER_INLINE void add_fired(PieceTotals& piece, std::int64_t lane, IntVec fired) {
  const std::int64_t v = lane / kLanes;
  store(piece.fired + lane, piece.begun[v] != 0 ? load(piece.fired + lane) + fired : fired);
  piece.begun[v] = 1;
}

/// Adds the residual, which is laid out as the positions are and may be null; applies the activation in
/// place; adds what it met to the lanes `channel`, … of the watch's pieces. Meant for what was stored a
/// moment ago and is still in L1.
void apply_watched(const Watch& watch, const Activation& activation, const Positions& positions,
                   const float* residual, std::int64_t channel);

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
