#include "data/image.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember::data {

Image decode_image(std::span<const std::byte> file) {
  const auto starts_with = [&](std::initializer_list<unsigned> magic) {
    return file.size() >= magic.size() &&
           std::equal(magic.begin(), magic.end(), file.begin(),
                      [](unsigned a, std::byte b) { return a == std::to_integer<unsigned>(b); });
  };
  if (starts_with({0xFF, 0xD8, 0xFF})) return decode_jpeg(file);
  if (starts_with({0x89, 'P', 'N', 'G'})) return decode_png(file);
  throw Error(ErrorCode::InvalidData, "is neither a JPEG nor a PNG image");
}

void require_plausible_size(std::uint64_t width, std::uint64_t height, std::size_t file_bytes,
                            std::uint64_t most_per_byte) {
  constexpr std::uint64_t kMostPixels = std::uint64_t{1} << 27;
  constexpr std::uint64_t kHarmless = 1 << 20;
  const std::uint64_t pixels = width * height;  // both are below 2^32
  if (pixels == 0) throw Error(ErrorCode::InvalidData, "has no pixels");
  if (pixels > kMostPixels || (pixels > kHarmless && pixels / most_per_byte > file_bytes)) {
    throw Error(
        ErrorCode::InvalidData,
        fmt::format("claims {} x {} pixels in {} bytes, which is not plausible", width, height, file_bytes));
  }
}

Image to_gray(const Image& image) {
  if (image.channels == 1) return image;
  Image gray{.width = image.width, .height = image.height, .channels = 1, .pixels = {}};
  gray.pixels.resize(image.pixels.size() / 3);
  const std::uint8_t* from = image.pixels.data();
  for (std::uint8_t& pixel : gray.pixels) {
    // 0.299, 0.587 and 0.114 in 16-bit fixed point.
    pixel = static_cast<std::uint8_t>((from[0] * 19595 + from[1] * 38470 + from[2] * 7471 + 0x8000) >> 16);
    from += 3;
  }
  return gray;
}

Image center_crop(const Image& image, int width, int height) {
  const auto offset = [](int whole, int part) {
    return static_cast<std::size_t>(std::nearbyint((whole - part) / 2.0));  // half to even, as torchvision
  };
  Image cropped{.width = width, .height = height, .channels = image.channels, .pixels = {}};
  cropped.pixels.resize(cropped.row_bytes() * static_cast<std::size_t>(height));
  const std::size_t left = offset(image.width, width) * static_cast<std::size_t>(image.channels);
  const std::size_t top = offset(image.height, height);
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
    std::memcpy(cropped.pixels.data() + y * cropped.row_bytes(),
                image.pixels.data() + (top + y) * image.row_bytes() + left, cropped.row_bytes());
  }
  return cropped;
}

}  // namespace ember::data
