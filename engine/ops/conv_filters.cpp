#include "ops/conv_filters.hpp"

#include <algorithm>

namespace ember::ops {

namespace {

/// One tap of one step of input channels: [lanes][columns].
void pack_step(const FilterPacking& p, const float* filters, std::int64_t group, std::int64_t tile,
               std::int64_t step, std::int64_t tap, float* to) {
  const std::int64_t kernel = p.kernel[0] * p.kernel[1] * p.kernel[2];
  const std::int64_t channels = std::min(p.lanes, p.in_per_group - step * p.lanes);
  const std::int64_t columns = std::min(p.columns, p.out_per_group - tile * p.columns);
  std::fill_n(to, p.lanes * p.columns, 0.0F);
  for (std::int64_t lane = 0; lane < channels; ++lane) {
    const std::int64_t c = step * p.lanes + lane;
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t m = tile * p.columns + column;
      const std::int64_t filter = p.transposed ? (group * p.in_per_group + c) * p.out_per_group + m
                                               : (group * p.out_per_group + m) * p.in_per_group + c;
      to[lane * p.columns + column] = filters[filter * kernel + tap];
    }
  }
}

}  // namespace

void pack_filters(const FilterPacking& p, const float* filters, float* packed) {
  const auto tap_index = [](const TapSet& set, std::int64_t t) { return set.first + t * set.step; };
  for (std::int64_t group = 0; group < p.groups; ++group) {
    for (std::int64_t tile = 0; tile < p.tiles(); ++tile) {
      for (std::int64_t step = 0; step < p.channel_steps(); ++step) {
        for (std::int64_t d = 0; d < p.taps[0].count; ++d) {
          for (std::int64_t h = 0; h < p.taps[1].count; ++h) {
            for (std::int64_t w = 0; w < p.taps[2].count; ++w, packed += p.lanes * p.columns) {
              const std::int64_t tap =
                  (tap_index(p.taps[0], d) * p.kernel[1] + tap_index(p.taps[1], h)) * p.kernel[2] +
                  tap_index(p.taps[2], w);
              pack_step(p, filters, group, tile, step, tap, packed);
            }
          }
        }
      }
    }
  }
}

void pack_bias(const FilterPacking& p, const float* bias, float* packed) {
  const std::int64_t padded = p.tiles() * p.columns;
  for (std::int64_t group = 0; group < p.groups; ++group) {
    float* to = packed + group * padded;
    std::copy_n(bias + group * p.out_per_group, p.out_per_group, to);
    std::fill(to + p.out_per_group, to + padded, 0.0F);
  }
}

}  // namespace ember::ops
