// The only place with setjmp: libjpeg reports errors by a call that must not return. Every function
// that sets a jump target holds nothing with a destructor.

#include <csetjmp>
#include <cstdio>
#include <string>

#include <jpeglib.h>
// After jpeglib.h, on which it depends.
#include <jerror.h>

#include <ember/error.hpp>

#include "data/image.hpp"

namespace ember::data {

namespace {

struct Failure {
  jpeg_error_mgr manager;  // first, so that libjpeg's pointer to it is also one to this
  std::jmp_buf target;
  char message[JMSG_LENGTH_MAX];
};

void on_error(j_common_ptr state) {
  auto* failure = reinterpret_cast<Failure*>(state->err);
  failure->manager.format_message(state, failure->message);
  std::longjmp(failure->target, 1);
}

/// Negative levels are warnings. Those that mean missing data are failures; the rest leave a picture.
void on_message(j_common_ptr state, int level) {
  const int code = state->err->msg_code;
  if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER)) on_error(state);
}

/// A progressive file may repeat scans of a large picture without end, for a few bytes each.
void on_progress(j_common_ptr state) {
  constexpr int kMostScans = 500;
  auto* decoder = reinterpret_cast<j_decompress_ptr>(state);
  if (decoder->input_scan_number > kMostScans) ERREXIT(state, JERR_BAD_PROGRESSION);
}

class Decoder {
 public:
  Decoder() {
    progress_.progress_monitor = on_progress;
    state_.err = jpeg_std_error(&failure_.manager);
    failure_.manager.error_exit = on_error;
    failure_.manager.emit_message = on_message;
    failure_.message[0] = '\0';
  }
  ~Decoder() { jpeg_destroy_decompress(&state_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  bool read_header(const unsigned char* bytes, unsigned long size) {
    if (setjmp(failure_.target) != 0) return false;
    jpeg_create_decompress(&state_);
    state_.progress = &progress_;
    jpeg_mem_src(&state_, bytes, size);
    jpeg_read_header(&state_, TRUE);
    const bool four = state_.jpeg_color_space == JCS_CMYK || state_.jpeg_color_space == JCS_YCCK;
    state_.out_color_space = four ? JCS_CMYK : JCS_RGB;
    return true;
  }
  bool start() {
    if (setjmp(failure_.target) != 0) return false;
    return jpeg_start_decompress(&state_) == TRUE;
  }
  bool read_row(unsigned char* row) {
    if (setjmp(failure_.target) != 0) return false;
    return jpeg_read_scanlines(&state_, &row, 1) == 1;
  }

  [[nodiscard]] const jpeg_decompress_struct& state() const { return state_; }
  [[nodiscard]] std::string message() const { return failure_.message; }

 private:
  jpeg_decompress_struct state_{};
  Failure failure_{};
  jpeg_progress_mgr progress_{};
};

[[noreturn]] void fail(const Decoder& decoder) {
  throw Error(ErrorCode::InvalidData, "is not an intact JPEG image: " + decoder.message());
}

/// Inks to light. Adobe's files hold them inverted, which is all that occurs in practice.
void cmyk_to_rgb(const unsigned char* from, std::uint8_t* to, int width, bool inverted) {
  for (int x = 0; x < width; ++x, from += 4, to += 3) {
    const int black = inverted ? from[3] : 255 - from[3];
    for (int c = 0; c < 3; ++c) {
      const int ink = inverted ? from[c] : 255 - from[c];
      to[c] = static_cast<std::uint8_t>((ink * black + 127) / 255);
    }
  }
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> file) {
  Decoder decoder;
  const auto* bytes = reinterpret_cast<const unsigned char*>(file.data());
  if (!decoder.read_header(bytes, static_cast<unsigned long>(file.size()))) fail(decoder);
  // A block of 64 pixels costs a bit at least, unless coded arithmetically.
  require_plausible_size(decoder.state().image_width, decoder.state().image_height, file.size(), 4096);
  if (!decoder.start()) fail(decoder);
  Image image{.width = static_cast<int>(decoder.state().output_width),
              .height = static_cast<int>(decoder.state().output_height),
              .channels = 3,
              .pixels = {}};
  image.pixels.resize(image.row_bytes() * static_cast<std::size_t>(image.height));
  const bool four = decoder.state().out_color_components == 4;
  std::vector<unsigned char> inks(four ? static_cast<std::size_t>(image.width) * 4 : 0);
  for (std::uint8_t* row = image.pixels.data();
       decoder.state().output_scanline < decoder.state().output_height; row += image.row_bytes()) {
    if (!decoder.read_row(four ? inks.data() : row)) fail(decoder);
    if (four) cmyk_to_rgb(inks.data(), row, image.width, decoder.state().saw_Adobe_marker == TRUE);
  }
  return image;
}

}  // namespace ember::data
