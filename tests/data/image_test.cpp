#include <doctest/doctest.h>

#include <png.h>

#include <cstdio>
#include <cstring>

#include <jpeglib.h>

#include <ember/file.hpp>
#include <ember/samples.hpp>

#include "data/image.hpp"
#include "npy_bytes.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using namespace ember::test;
using data::Image;

namespace {

std::string png(int width, int height, unsigned format, const std::vector<std::uint8_t>& pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = format;
  png_alloc_size_t size = 0;
  REQUIRE(png_image_write_get_memory_size(image, size, 0, pixels.data(), 0, nullptr) != 0);
  std::string bytes(size, '\0');
  REQUIRE(png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels.data(), 0, nullptr) != 0);
  bytes.resize(size);
  return bytes;
}

std::string jpeg(int width, int height, int components, std::vector<std::uint8_t> pixels,
                 bool progressive = false) {
  jpeg_compress_struct state{};
  jpeg_error_mgr errors{};
  state.err = jpeg_std_error(&errors);
  jpeg_create_compress(&state);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&state, &out, &size);
  state.image_width = static_cast<JDIMENSION>(width);
  state.image_height = static_cast<JDIMENSION>(height);
  state.input_components = components;
  state.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&state);
  jpeg_set_quality(&state, 100, TRUE);
  if (progressive) jpeg_simple_progression(&state);
  jpeg_start_compress(&state, TRUE);
  for (int y = 0; y < height; ++y) {
    JSAMPROW row = pixels.data() + y * width * components;
    jpeg_write_scanlines(&state, &row, 1);
  }
  jpeg_finish_compress(&state);
  jpeg_destroy_compress(&state);
  std::string bytes(reinterpret_cast<char*>(out), size);
  std::free(out);
  return bytes;
}

Image decode(const std::string& bytes) { return data::decode_image(std::as_bytes(std::span(bytes))); }

bool near(const Image& image, std::size_t pixel, int r, int g, int b) {
  const auto* at = image.pixels.data() + 3 * pixel;
  return std::abs(at[0] - r) <= 4 && std::abs(at[1] - g) <= 4 && std::abs(at[2] - b) <= 4;
}

std::vector<std::uint8_t> plain(int width, int height, std::initializer_list<std::uint8_t> pixel) {
  std::vector<std::uint8_t> pixels;
  for (int i = 0; i < width * height; ++i) pixels.insert(pixels.end(), pixel);
  return pixels;
}

}  // namespace

TEST_CASE("image: PNG in colour, with alpha, grey") {
  const Image rgb = decode(png(2, 1, PNG_FORMAT_RGB, {1, 2, 3, 4, 5, 6}));
  CHECK(rgb.width == 2);
  CHECK(rgb.height == 1);
  CHECK(rgb.pixels == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6});
  CHECK(decode(png(1, 1, PNG_FORMAT_RGBA, {10, 20, 30, 0})).pixels == std::vector<std::uint8_t>{10, 20, 30});
  CHECK(decode(png(1, 2, PNG_FORMAT_GRAY, {7, 9})).pixels == std::vector<std::uint8_t>{7, 7, 7, 9, 9, 9});
}

TEST_CASE("image: JPEG in colour, grey, CMYK, progressive") {
  CHECK(near(decode(jpeg(17, 9, 3, plain(17, 9, {200, 100, 50}))), 17 * 9 - 1, 200, 100, 50));
  CHECK(near(decode(jpeg(17, 9, 3, plain(17, 9, {200, 100, 50}), true)), 5, 200, 100, 50));
  CHECK(near(decode(jpeg(8, 8, 1, plain(8, 8, {99}))), 63, 99, 99, 99));
  // libjpeg writes the Adobe marker, so these values are inverted inks: light.
  CHECK(near(decode(jpeg(8, 8, 4, plain(8, 8, {255, 128, 0, 255}))), 0, 255, 128, 0));
}

TEST_CASE("image: no prefix and no flipped byte does harm") {
  for (const std::string& good :
       {jpeg(16, 16, 3, plain(16, 16, {200, 100, 50})), jpeg(16, 16, 3, plain(16, 16, {9, 100, 50}), true),
        png(16, 16, PNG_FORMAT_RGB, plain(16, 16, {1, 2, 3}))}) {
    for (std::size_t length = 0; length + 12 < good.size(); ++length) {
      CAPTURE(length);
      CHECK_FALSE(error_of([&] { decode(good.substr(0, length)); }).empty());
    }
    for (std::size_t at = 0; at < good.size(); ++at) {
      for (const int flip : {0x01, 0x80, 0xFF}) {
        std::string damaged = good;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        try {
          decode(damaged);
        } catch (const Error&) {
        }
      }
    }
  }
}

TEST_CASE("image: implausible sizes are refused before memory is taken") {
  std::string huge = jpeg(8, 8, 1, plain(8, 8, {99}));
  const std::size_t frame = huge.find("\xFF\xC0");
  REQUIRE(frame != std::string::npos);
  std::memcpy(huge.data() + frame + 5, "\xFF\xDC\xFF\xDC", 4);
  CHECK(contains(error_of([&] { decode(huge); }), "not plausible"));
  CHECK(contains(error_of([&] { decode("GIF89a"); }), "neither"));
}

TEST_CASE("image: resize is bilinear, antialiased when it shrinks") {
  const auto line = [](std::vector<std::uint8_t> values) {
    const int width = static_cast<int>(values.size());
    return Image{.width = width, .height = 1, .channels = 1, .pixels = std::move(values)};
  };
  // By hand: weights (3, 3, 1) / 7 and (1, 3, 3) / 7.
  CHECK(data::resize(line({0, 100, 200, 50}), 2, 1).pixels == std::vector<std::uint8_t>{71, 121});
  CHECK(data::resize(line({0, 100}), 4, 1).pixels == std::vector<std::uint8_t>{0, 25, 75, 100});
  const Image column{.width = 1, .height = 4, .channels = 1, .pixels = {0, 100, 200, 50}};
  CHECK(data::resize(column, 1, 2).pixels == std::vector<std::uint8_t>{71, 121});
  const Image flat{.width = 37, .height = 23, .channels = 3, .pixels = plain(37, 23, {255, 128, 1})};
  CHECK(data::resize(flat, 11, 50).pixels == plain(11, 50, {255, 128, 1}));
}

TEST_CASE("image: centre crop and grey") {
  const Image image{.width = 4, .height = 3, .channels = 1, .pixels = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
  CHECK(data::center_crop(image, 2, 1).pixels == std::vector<std::uint8_t>{5, 6});
  const Image colors{.width = 3, .height = 1, .channels = 3, .pixels = {255, 0, 0, 0, 255, 0, 0, 0, 255}};
  CHECK(data::to_gray(colors).pixels == std::vector<std::uint8_t>{76, 150, 29});
}

namespace {

struct Folder {
  ScratchFolder folder;
  std::vector<float> read(const Preprocessing& p, const Shape& input) const {
    const auto samples = open_samples(folder.path(), p);
    std::vector<float> values(static_cast<std::size_t>(input.with(0, samples->count()).elements()));
    samples->read(0, samples->count(), input, values.data());
    return values;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Folder, "image folder: planes in the order the model wants, files sorted, labels") {
  write_file(folder / "b.png", png(2, 1, PNG_FORMAT_RGB, {1, 2, 3, 4, 5, 6}));
  write_file(folder / "a.PNG", png(2, 1, PNG_FORMAT_GRAY, {7, 8}));
  write_file(folder / "notes.txt", "no image");
  CHECK(read({}, Shape{1, 3, 1, 2}) == std::vector<float>{7, 8, 7, 8, 7, 8, 1, 4, 2, 5, 3, 6});
  CHECK(read({}, Shape{1, 1, 1, 2}) == std::vector<float>{7, 8, 2, 5});
  Preprocessing taller;
  taller.size = {2};
  CHECK(read(taller, Shape{1, 2, 2, 3}) ==
        std::vector<float>{7, 7, 7, 8, 8, 8, 7, 7, 7, 8, 8, 8, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6});
  Preprocessing bgr;
  bgr.color = "BGR";
  CHECK(read(bgr, Shape{1, 3, 1, 2}) == std::vector<float>{7, 8, 7, 8, 7, 8, 3, 6, 2, 5, 1, 4});
  CHECK_FALSE(open_samples(folder.path())->labels());
  write_file(folder / "labels.csv", "file,label\r\nb.png,5\r\na.PNG,-1\r\n");
  CHECK(open_samples(folder.path())->labels() == std::vector<std::int64_t>{-1, 5});
  for (const char* bad : {"", "name,class\n", "file,label\nb.png,5\n", "file,label\nb.png,5\na.PNG,x\n",
                          "file,label\nb.png,5\na.PNG,1\nc.png,1\n",
                          "file,label\nb.png,5\na.PNG,1\na.PNG,1\n", "file,label\nb.png\n"}) {
    CAPTURE(bad);
    write_file(folder / "labels.csv", bad);
    CHECK(contains(error_of([&] { open_samples(folder.path()); }), "labels.csv"));
  }
}

TEST_CASE_FIXTURE(Folder, "image folder: resize and crop, and what does not fit is named") {
  write_file(folder / "a.png", png(40, 20, PNG_FORMAT_RGB, plain(40, 20, {9, 9, 9})));
  Preprocessing p;
  p.resize_short = 10;
  p.size = {8};
  CHECK(read(p, Shape{1, 3, 8, 8}) == std::vector<float>(192, 9.0F));
  p.size = {12};
  CHECK(contains(error_of([&] { read(p, Shape{1, 3, 12, 12}); }), "too small"));
  p = {};
  p.size = {5, 7};
  CHECK(read(p, Shape{1, 3, 5, 7}) == std::vector<float>(105, 9.0F));
  p.size = {6};
  CHECK(read(p, Shape{1, 3, 6, 6}) == std::vector<float>(108, 9.0F));
  const std::string message = error_of([&] { read({}, Shape{1, 3, 8, 8}); });
  CHECK(contains(message, "a.png"));
  CHECK(contains(message, "[8, 8]"));
  CHECK(contains(error_of([&] { read({}, Shape{1, 10}); }), "as an array"));
  write_file(folder / "b.jpg", "no picture");
  CHECK(contains(error_of([&] { read(p, Shape{1, 3, 6, 6}); }), "b.jpg"));
}
