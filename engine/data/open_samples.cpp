#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "data/byte_reader.hpp"
#include "data/sources.hpp"

namespace ember {

namespace {

/// Known by what it starts with, so that a wrong file name does no harm.
std::unique_ptr<Samples> open_file_samples(const std::filesystem::path& path,
                                           const Preprocessing& preprocessing,
                                           const std::string& input_name) {
  const auto bytes = data::open_file(path);
  std::array<char, 6> head{};
  bytes->read(
      0, std::as_writable_bytes(std::span(head)).first(std::min<std::uint64_t>(head.size(), bytes->size())));
  const std::string_view start(head.data(), head.size());
  if (start.starts_with("\x93NUMPY")) return data::open_npy_samples(path, preprocessing);
  if (start.starts_with("PK")) return data::open_npz_samples(path, preprocessing, input_name);
  if (start.starts_with("\x1f\x8b")) return data::open_idx_samples(path, preprocessing, true);
  if (bytes->size() >= 4 && head[0] == 0 && head[1] == 0)
    return data::open_idx_samples(path, preprocessing, false);
  throw Error(ErrorCode::InvalidData, fmt::format("'{}' is no kind of data ember reads", path.string()),
              {.cure = "give an .npy, .npz or IDX file (also .gz) or a folder of JPEG or PNG images"});
}

}  // namespace

std::unique_ptr<Samples> open_samples(const std::filesystem::path& path, const Preprocessing& preprocessing,
                                      const std::string& input_name) {
  std::error_code ignored;
  std::unique_ptr<Samples> samples = std::filesystem::is_directory(path, ignored)
                                         ? data::open_image_folder(path, preprocessing)
                                         : open_file_samples(path, preprocessing, input_name);
  if (samples->count() == 0) {
    throw Error(ErrorCode::InvalidData, fmt::format("'{}' holds no samples", path.string()),
                {.cure = "the first axis counts samples; give one at least"});
  }
  return samples;
}

namespace data {

void require_range(const Samples& samples, std::int64_t first, std::int64_t n) {
  if (first < 0 || n < 0 || n > samples.count() - first) {
    throw Error(ErrorCode::InvalidArgument,
                fmt::format("samples {} to {} of {} do not exist", first, first + n - 1, samples.count()));
  }
}

}  // namespace data

}  // namespace ember
