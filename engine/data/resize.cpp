#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "data/image.hpp"

namespace ember::data {

namespace {

// Weights are fixed-point with as many fraction bits as a 32-bit sum of 8-bit values leaves.
constexpr int kFractionBits = 32 - 8 - 2;

/// The weights of one output position: those of the inputs [first, first + weights.size()).
struct Taps {
  std::size_t first = 0;
  std::vector<std::int32_t> weights;
};

/// A triangle filter, widened by the scale when the image shrinks.
std::vector<Taps> make_taps(int in, int out) {
  const double scale = static_cast<double>(in) / out;
  const double support = std::max(scale, 1.0);
  std::vector<Taps> taps(static_cast<std::size_t>(out));
  for (int position = 0; position < out; ++position) {
    const double center = (position + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int last = std::min(in, static_cast<int>(center + support + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (int i = first; i < last; ++i) {
      weights.push_back(std::max(0.0, 1.0 - std::abs((i - center + 0.5) / support)));
      sum += weights.back();
    }
    Taps& tap = taps[static_cast<std::size_t>(position)];
    tap.first = static_cast<std::size_t>(first);
    for (const double weight : weights) {
      tap.weights.push_back(static_cast<std::int32_t>(std::lround(weight / sum * (1 << kFractionBits))));
    }
  }
  return taps;
}

/// One output of a line whose elements are `stride` apart.
std::uint8_t filter(const Taps& tap, const std::uint8_t* from, std::size_t stride) {
  std::int32_t sum = 1 << (kFractionBits - 1);
  const std::uint8_t* at = from + tap.first * stride;
  for (const std::int32_t weight : tap.weights) {
    sum += weight * *at;
    at += stride;
  }
  return static_cast<std::uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

Image resize_width(const Image& image, int width) {
  Image out{.width = width, .height = image.height, .channels = image.channels, .pixels = {}};
  out.pixels.resize(out.row_bytes() * static_cast<std::size_t>(out.height));
  const std::vector<Taps> taps = make_taps(image.width, width);
  const auto channels = static_cast<std::size_t>(image.channels);
  std::uint8_t* to = out.pixels.data();
  for (std::size_t y = 0; y < static_cast<std::size_t>(image.height); ++y) {
    const std::uint8_t* row = image.pixels.data() + y * image.row_bytes();
    for (const Taps& tap : taps) {
      for (std::size_t c = 0; c < channels; ++c) *to++ = filter(tap, row + c, channels);
    }
  }
  return out;
}

Image resize_height(const Image& image, int height) {
  Image out{.width = image.width, .height = height, .channels = image.channels, .pixels = {}};
  out.pixels.resize(out.row_bytes() * static_cast<std::size_t>(height));
  const std::size_t row = image.row_bytes();
  std::uint8_t* to = out.pixels.data();
  for (const Taps& tap : make_taps(image.height, height)) {
    for (std::size_t x = 0; x < row; ++x) *to++ = filter(tap, image.pixels.data() + x, row);
  }
  return out;
}

}  // namespace

Image resize(const Image& image, int width, int height) {
  constexpr std::int64_t kMostPixels = std::int64_t{1} << 27;
  if (std::int64_t{width} * std::max(height, image.height) > kMostPixels) {
    throw Error(ErrorCode::ResourceLimit,
                fmt::format("an image of {} x {} pixels is too large", width, height));
  }
  Image out = image.width == width ? image : resize_width(image, width);
  return out.height == height ? out : resize_height(out, height);
}

}  // namespace ember::data
