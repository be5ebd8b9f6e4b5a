#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ember/tensor.hpp>

namespace ember {

/// How raw values become model input, in this order: image resize and crop, channel order, then
/// ((x · scale − mean) ÷ std + offset) · scale_after. Keys of the JSON form have the same names.
struct Preprocessing {
  int resize_short = 0;       ///< images: bilinear resize of the shorter side, 0 = none
  std::vector<int> size;      ///< images: {s} centre crop to s×s after resize_short (a resize to s×s
                              ///< without it); {h, w} resize to h×w
  std::string color = "RGB";  ///< images: "RGB", "BGR" or "GRAY"
  double scale = 1.0;
  std::vector<double> mean;  ///< one per channel (axis 1 of the model's input), or one for all
  std::vector<double> std;
  double offset = 0.0;
  double scale_after = 1.0;
  int label_offset = 0;  ///< added to a label before it is compared with an argmax

  /// Reads the JSON form; unknown keys are refused by name (except "data", which is ignored). Throws Error.
  static Preprocessing from_json_file(const std::filesystem::path& file);
};

/// A sequence of samples, streamed. Reading is sequential; one thread at a time.
class Samples {
 public:
  virtual ~Samples() = default;
  /// How many samples there are.
  [[nodiscard]] virtual std::int64_t count() const = 0;
  /// What it is, for reports: file names.
  [[nodiscard]] virtual std::string description() const = 0;
  /// Writes samples [first, first + n) as float32, preprocessed, into `to` (n × elements of one model input).
  /// `input_shape` is the model's input shape with the batch extent at axis 0 (its value ignored).
  /// NaN and infinities pass through. Throws Error (InvalidData) when a sample does not fit.
  virtual void read(std::int64_t first, std::int64_t n, const Shape& input_shape, float* to) = 0;
  /// Labels, if the data has them: one per sample.
  [[nodiscard]] virtual std::optional<std::vector<std::int64_t>> labels() const { return std::nullopt; }
  /// SHA-256 over the raw content, hexadecimal.
  [[nodiscard]] virtual std::string content_hash() const = 0;
  /// What else decides the values that read() makes of the content: preprocessing. Equal text, equal values.
  [[nodiscard]] virtual std::string settings() const { return ""; }
};

/// An .npy, .npz (array named like the model's input, or "x"; labels in "y"), IDX (also .gz) file, or a
/// folder of JPEG/PNG images (labels.csv with file,label if present). `input_name` picks the .npz array.
std::unique_ptr<Samples> open_samples(const std::filesystem::path& path,
                                      const Preprocessing& preprocessing = {},
                                      const std::string& input_name = "");

}  // namespace ember
