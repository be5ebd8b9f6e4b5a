#pragma once

#include <array>
#include <cstdint>

#include "ops/conv_geometry.hpp"

namespace ember::ops {

/// The taps of a kernel axis that one direct convolution uses: first, first + step, ...
struct TapSet {
  std::int64_t first = 0;
  std::int64_t step = 1;
  std::int64_t count = 1;
};

/// How the filters of a convolution are packed for kernels::ConvKernels::run:
/// [groups][tiles][channel steps][taps...][lanes][columns], zeros where channels run out.
struct FilterPacking {
  std::int64_t groups = 1;
  std::int64_t in_per_group = 0;
  std::int64_t out_per_group = 0;
  std::int64_t lanes = 1;    ///< input channels per step
  std::int64_t columns = 1;  ///< output channels per tile
  std::array<std::int64_t, kSpatialAxes> kernel{};
  std::array<TapSet, kSpatialAxes> taps;
  bool transposed = false;  ///< filters are [C, M/group, k...] (ConvTranspose), not [M, C/group, k...]

  [[nodiscard]] std::int64_t tiles() const { return (out_per_group + columns - 1) / columns; }
  [[nodiscard]] std::int64_t channel_steps() const { return (in_per_group + lanes - 1) / lanes; }
  [[nodiscard]] std::int64_t group_size() const {
    return tiles() * channel_steps() * taps[0].count * taps[1].count * taps[2].count * lanes * columns;
  }
  [[nodiscard]] std::int64_t size() const { return groups * group_size(); }
};

void pack_filters(const FilterPacking& packing, const float* filters, float* packed);

/// [groups][tiles × columns] from one bias per output channel; zeros where channels run out.
void pack_bias(const FilterPacking& packing, const float* bias, float* packed);

}  // namespace ember::ops
