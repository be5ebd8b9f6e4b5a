#pragma once

#include <cstdint>

namespace ember::kernels {

/// The part of one source block in a block of channels that is put together from several.
struct LaneDraw {
  const float* from = nullptr;  ///< the source block's first position
  /// One entry per lane of the result: the source's lane, or -1 where another source gives it.
  const std::int32_t* lanes = nullptr;
};

/// Channels of blocked tensors put in another order, without leaving the layout.
struct ChannelGatherKernels {
  /// `positions` positions of one result block from `count` draws, at most one of which gives each lane;
  /// lanes that none gives become 0.
  void (*gather)(const LaneDraw* draws, std::int64_t count, std::int64_t positions, float* to);
};

}  // namespace ember::kernels
