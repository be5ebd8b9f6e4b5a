#pragma once

// Where the taps of an output row lie on the input. Included only by *.isa.cpp files.

#include "kernels/convolution.hpp"
#include "kernels/register_tile.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

/// Taps [begin, begin + count) of an axis that lie on the input, and the input position of tap 0.
struct AxisTaps {
  std::int64_t position = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

EMBER_INLINE AxisTaps taps_at(const ConvAxis& axis, std::int64_t output) {
  AxisTaps taps;
  taps.position = output * axis.in_step + axis.in_offset;
  for (std::int64_t t = 0; t < axis.taps; ++t) {
    const std::int64_t at = taps.position + t * axis.tap_step;
    if (at < 0 || at >= axis.input) continue;
    if (taps.count == 0) taps.begin = t;
    ++taps.count;
  }
  return taps;
}

/// Outputs [begin, end) whose every tap lies on the input.
struct Interior {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

EMBER_INLINE Interior interior_of(const ConvAxis& axis) {
  const std::int64_t reach = (axis.taps - 1) * axis.tap_step;
  const std::int64_t lowest = axis.in_offset + smaller(0, reach);
  const std::int64_t highest = axis.in_offset + larger(0, reach);
  Interior interior;
  interior.begin = lowest >= 0 ? 0 : (-lowest + axis.in_step - 1) / axis.in_step;
  const std::int64_t room = axis.input - 1 - highest;
  interior.end = room < 0 ? 0 : smaller(axis.output, room / axis.in_step + 1);
  interior.begin = smaller(interior.begin, axis.output);
  interior.end = larger(interior.end, interior.begin);
  return interior;
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
