#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "core/sha256.hpp"
#include "data/byte_reader.hpp"
#include "data/image.hpp"
#include "data/preprocessing.hpp"
#include "data/sources.hpp"

namespace ember::data {

namespace fs = std::filesystem;

namespace {

constexpr const char* kLabelFile = "labels.csv";

bool has_image_extension(const fs::path& file) {
  std::string extension = file.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

[[noreturn]] void fail_labels(const fs::path& file, const std::string& reason) {
  throw Error(ErrorCode::InvalidData, fmt::format("'{}': {}", file.string(), reason),
              {.cure = "it must start with the line 'file,label' and name every image once"});
}

std::map<std::string, std::int64_t> parse_labels(const fs::path& file) {
  const std::vector<std::byte> bytes = read_file(file);
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::map<std::string, std::int64_t> labels;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (number == 1 && line != "file,label") fail_labels(file, "the first line is not 'file,label'");
    if (number == 1 || line.empty()) continue;
    const std::size_t comma = line.rfind(',');
    if (comma == std::string_view::npos) fail_labels(file, fmt::format("line {} has no comma", number));
    std::int64_t label = 0;
    const char* last = line.data() + line.size();
    const auto [stop, error] = std::from_chars(line.data() + comma + 1, last, label);
    if (error != std::errc{} || stop != last)
      fail_labels(file, fmt::format("line {} has no whole number as label", number));
    if (!labels.emplace(line.substr(0, comma), label).second) {
      fail_labels(file, fmt::format("line {} names an image again", number));
    }
  }
  return labels;
}

/// How a sample of the model's input lies in memory.
struct InputLayout {
  int channels = 0;
  int height = 0;
  int width = 0;
  bool channels_last = false;
};

InputLayout layout_of(const Shape& shape) {
  const auto extent = [&](int axis) {
    return static_cast<int>(std::min<std::int64_t>(shape[axis], 1 << 30));
  };
  const auto is_color = [&](int axis) { return shape[axis] == 1 || shape[axis] == 3; };
  if (shape.rank() == 4 && is_color(1)) return {extent(1), extent(2), extent(3), false};
  if (shape.rank() == 4 && is_color(3)) return {extent(3), extent(1), extent(2), true};
  if (shape.rank() == 3) return {1, extent(1), extent(2), false};
  throw Error(
      ErrorCode::InvalidData,
      fmt::format("the model's input of shape {} takes no images: it is neither [N, 1 or 3, height, width], "
                  "[N, height, width, 1 or 3] nor [N, height, width]",
                  to_string(shape)),
      {.cure = "give the data as an array"});
}

class ImageFolder final : public Samples {
 public:
  ImageFolder(fs::path folder, Preprocessing preprocessing)
      : folder_(std::move(folder)), preprocessing_(std::move(preprocessing)) {
    std::error_code error;
    for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
      if (has_image_extension(entry->path())) files_.push_back(entry->path().filename().string());
    }
    if (error) {
      throw Error(ErrorCode::Io, fmt::format("cannot list '{}': {}", folder_.string(), error.message()));
    }
    if (files_.empty()) {
      throw Error(
          ErrorCode::InvalidData,
          fmt::format("'{}' holds no samples: there is no .jpg, .jpeg or .png file in it", folder_.string()),
          {.cure = "give the folder that holds the images themselves; folders in it are not searched"});
    }
    std::sort(files_.begin(), files_.end());
    if (fs::exists(folder_ / kLabelFile, error)) read_labels();
  }

  [[nodiscard]] std::int64_t count() const override { return static_cast<std::int64_t>(files_.size()); }
  [[nodiscard]] std::string description() const override {
    return fmt::format("{} ({} images)", folder_.string(), files_.size());
  }
  [[nodiscard]] std::optional<std::vector<std::int64_t>> labels() const override { return labels_; }

  /// The hash of what `sha256sum` prints for the sorted images.
  [[nodiscard]] std::string content_hash() const override {
    Sha256 hash;
    for (const std::string& file : files_) {
      const std::string line = fmt::format("{}  {}\n", file_hash(folder_ / file), file);
      hash.update(std::as_bytes(std::span(line)));
    }
    return hash.hex();
  }
  [[nodiscard]] std::string settings() const override { return describe(preprocessing_); }

  void read(std::int64_t first, std::int64_t n, const Shape& input_shape, float* to) override {
    require_range(*this, first, n);
    const InputLayout layout = layout_of(input_shape);
    if (layout.channels == 3 && preprocessing_.color == "GRAY") {
      throw Error(ErrorCode::InvalidArgument,
                  "preprocessing asks for color GRAY, but the model's input has 3 channels");
    }
    const auto stride = static_cast<std::size_t>(input_shape.elements(1, input_shape.rank()));
    for (std::int64_t sample = 0; sample < n; ++sample) {
      const std::string& file = files_[static_cast<std::size_t>(first + sample)];
      try {
        write_sample(prepare(folder_ / file, layout), layout, to + static_cast<std::size_t>(sample) * stride);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::InvalidData) throw;
        throw Error(error.code(), fmt::format("image '{}' {}", (folder_ / file).string(), error.reason()),
                    error.context());
      }
    }
    scale_samples(preprocessing_, input_shape, n, to);
  }

 private:
  void read_labels() {
    const fs::path file = folder_ / kLabelFile;
    const std::map<std::string, std::int64_t> table = parse_labels(file);
    labels_.emplace();
    for (const std::string& image : files_) {
      const auto found = table.find(image);
      if (found == table.end()) fail_labels(file, fmt::format("there is no label for '{}'", image));
      labels_->push_back(found->second);
    }
    for (const auto& [image, label] : table) {
      if (!std::binary_search(files_.begin(), files_.end(), image)) {
        fail_labels(file, fmt::format("there is no image '{}'", image));
      }
    }
  }

  [[nodiscard]] Image prepare(const fs::path& file, const InputLayout& layout) const {
    Image image = decode_image(read_file(file));
    if (layout.channels == 1) image = to_gray(image);
    const std::vector<int>& size = preprocessing_.size;
    if (const int side = preprocessing_.resize_short; side > 0) {
      const int shorter = std::min(image.width, image.height);
      const auto scaled = [&](int extent) {
        const std::int64_t exact = std::int64_t{side} * extent / shorter;
        if (exact > 65500) throw Error(ErrorCode::InvalidData, "is too long and thin for resize_short");
        return static_cast<int>(exact);
      };
      image = resize(image, scaled(image.width), scaled(image.height));
      if (size.size() == 1) image = crop(image, size[0]);
    } else if (size.size() == 1) {
      image = resize(image, size[0], size[0]);
    }
    if (size.size() == 2) image = resize(image, size[1], size[0]);
    if (image.width != layout.width || image.height != layout.height) {
      throw Error(
          ErrorCode::InvalidData,
          fmt::format("is {} x {} (width x height) after preprocessing, the model's input takes {} x {}",
                      image.width, image.height, layout.width, layout.height),
          {.cure = fmt::format("set \"size\": [{}, {}] in the preprocessing", layout.height, layout.width)});
    }
    return image;
  }

  static Image crop(const Image& image, int side) {
    if (image.width < side || image.height < side) {
      throw Error(ErrorCode::InvalidData,
                  fmt::format("is {} x {} after resizing, too small to crop {} x {}", image.width,
                              image.height, side, side),
                  {.cure = "make resize_short at least as large as size"});
    }
    return center_crop(image, side, side);
  }

  void write_sample(const Image& image, const InputLayout& layout, float* to) const {
    const auto channels = static_cast<std::size_t>(layout.channels);
    const std::size_t pixels = image.pixels.size() / channels;
    const bool reversed = channels == 3 && preprocessing_.color == "BGR";
    for (std::size_t c = 0; c < channels; ++c) {
      const std::uint8_t* from = image.pixels.data() + (reversed ? channels - 1 - c : c);
      for (std::size_t pixel = 0; pixel < pixels; ++pixel) {
        to[layout.channels_last ? pixel * channels + c : c * pixels + pixel] = from[pixel * channels];
      }
    }
  }

  fs::path folder_;
  Preprocessing preprocessing_;
  std::vector<std::string> files_;  ///< names within the folder, sorted
  std::optional<std::vector<std::int64_t>> labels_;
};

}  // namespace

std::unique_ptr<Samples> open_image_folder(const fs::path& folder, const Preprocessing& preprocessing) {
  return std::make_unique<ImageFolder>(folder, preprocessing);
}

}  // namespace ember::data
