#include <png.h>

#include <ember/error.hpp>

#include "data/image.hpp"

namespace ember::data {

namespace {

/// libpng's simplified reader; frees what it holds.
struct Reader {
  png_image image{};
  Reader() { image.version = PNG_IMAGE_VERSION; }
  ~Reader() { png_image_free(&image); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
};

[[noreturn]] void fail(const Reader& reader) {
  throw Error(ErrorCode::InvalidData, std::string("is not an intact PNG image: ") + reader.image.message);
}

}  // namespace

Image decode_png(std::span<const std::byte> file) {
  Reader reader;
  if (png_image_begin_read_from_memory(&reader.image, file.data(), file.size()) == 0) fail(reader);
  // A row of 1-bit pixels, deflated at best 1032 : 1.
  require_plausible_size(reader.image.width, reader.image.height, file.size(), std::uint64_t{8} * 1032);
  reader.image.format = PNG_FORMAT_RGBA;
  reader.image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // 16-bit files are as seldom linear as 8-bit ones
  std::vector<std::uint8_t> rgba(PNG_IMAGE_SIZE(reader.image));
  if (png_image_finish_read(&reader.image, nullptr, rgba.data(), 0, nullptr) == 0) fail(reader);
  Image image{.width = static_cast<int>(reader.image.width),
              .height = static_cast<int>(reader.image.height),
              .channels = 3,
              .pixels = {}};
  image.pixels.resize(rgba.size() / 4 * 3);
  for (std::size_t pixel = 0; pixel < rgba.size() / 4; ++pixel) {
    for (std::size_t c = 0; c < 3; ++c) image.pixels[3 * pixel + c] = rgba[4 * pixel + c];
  }
  return image;
}

}  // namespace ember::data
