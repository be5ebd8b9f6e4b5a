#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ember::data {

/// 8-bit samples, row by row, channels interleaved: 3 (RGB) or 1 (grey).
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;
  std::vector<std::uint8_t> pixels;

  [[nodiscard]] std::size_t row_bytes() const {
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
  }
};

/// An image file in memory as RGB. Transparency is dropped, EXIF orientation ignored.
/// Throws Error (InvalidData) whose reason continues a sentence that starts with the image's name.
Image decode_image(std::span<const std::byte> file);
Image decode_jpeg(std::span<const std::byte> file);
Image decode_png(std::span<const std::byte> file);
/// Refuses an image with more pixels than are sane, or than a file of that many bytes can hold at
/// `most_per_byte`. Throws Error (InvalidData).
void require_plausible_size(std::uint64_t width, std::uint64_t height, std::size_t file_bytes,
                            std::uint64_t most_per_byte);

/// Luma of ITU-R BT.601.
Image to_gray(const Image& image);
/// Bilinear; antialiased when it shrinks. Rounds to 8 bits after each direction, as Pillow does.
Image resize(const Image& image, int width, int height);
/// The middle of an image that is at least as large.
Image center_crop(const Image& image, int width, int height);

}  // namespace ember::data
