#include <algorithm>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "data/array_format.hpp"
#include "data/npz_file.hpp"
#include "data/preprocessing.hpp"
#include "data/sources.hpp"

namespace ember::data {

namespace {

template <class T>
void convert(const std::byte* from, std::size_t count, float* to) {
  const auto* values = reinterpret_cast<const T*>(from);
  for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<float>(values[i]);
}

void to_float(DataType type, const std::byte* from, std::size_t count, float* to) {
  switch (type) {
    case DataType::Float32: return convert<float>(from, count, to);
    case DataType::Float64: return convert<double>(from, count, to);
    case DataType::Float16: return convert<Half>(from, count, to);
    case DataType::BFloat16: return convert<BFloat>(from, count, to);
    case DataType::Int8: return convert<std::int8_t>(from, count, to);
    case DataType::Int16: return convert<std::int16_t>(from, count, to);
    case DataType::Int32: return convert<std::int32_t>(from, count, to);
    case DataType::Int64: return convert<std::int64_t>(from, count, to);
    case DataType::UInt8: return convert<std::uint8_t>(from, count, to);
    case DataType::UInt16: return convert<std::uint16_t>(from, count, to);
    case DataType::UInt32: return convert<std::uint32_t>(from, count, to);
    case DataType::UInt64: return convert<std::uint64_t>(from, count, to);
    case DataType::Bool:
      for (std::size_t i = 0; i < count; ++i) to[i] = from[i] != std::byte{0} ? 1.0F : 0.0F;
      return;
    case DataType::Undefined: break;
  }
}

std::vector<std::int64_t> without_ones(std::span<const std::int64_t> dims) {
  std::vector<std::int64_t> kept;
  std::copy_if(dims.begin(), dims.end(), std::back_inserter(kept),
               [](std::int64_t extent) { return extent != 1; });
  return kept;
}

/// An array whose axis 0 counts samples, read by range.
class ArraySamples final : public Samples {
 public:
  ArraySamples(std::filesystem::path file, std::string where, std::unique_ptr<ByteReader> bytes,
               const ArrayFormat& format, Preprocessing preprocessing)
      : file_(std::move(file)),
        where_(std::move(where)),
        bytes_(std::move(bytes)),
        format_(format),
        preprocessing_(std::move(preprocessing)) {
    if (format_.shape.rank() == 0) {
      throw Error(ErrorCode::InvalidData, where_ + " is a single number",
                  {.cure = "the first axis counts samples"});
    }
    if (preprocessing_.resize_short != 0 || !preprocessing_.size.empty() || preprocessing_.color != "RGB") {
      throw Error(ErrorCode::InvalidArgument,
                  "preprocessing keys resize_short, size and color are for folders of images, and " + where_ +
                      " is an array",
                  {.cure = "leave those keys out"});
    }
    if (format_.fortran_order && format_.shape.rank() > 1) hold_row_major();
  }

  void keep_open(std::shared_ptr<NpzFile> archive) { archive_ = std::move(archive); }
  void set_labels(std::vector<std::int64_t> labels) { labels_ = std::move(labels); }

  [[nodiscard]] std::int64_t count() const override { return format_.shape[0]; }
  [[nodiscard]] std::string description() const override { return file_.string(); }
  [[nodiscard]] std::optional<std::vector<std::int64_t>> labels() const override { return labels_; }
  [[nodiscard]] std::string content_hash() const override { return file_hash(file_); }
  [[nodiscard]] std::string settings() const override { return describe(preprocessing_); }

  void read(std::int64_t first, std::int64_t n, const Shape& input_shape, float* to) override {
    require_range(*this, first, n);
    require_fit(input_shape);
    const auto count = static_cast<std::size_t>(input_shape.elements(1, input_shape.rank()));
    const std::size_t bytes = count * size_of(format_.type);
    // One sample at a time: the scratch memory stays small whatever the batch.
    scratch_.resize(bytes);
    std::optional<ByteScale> scale;
    if (format_.type == DataType::UInt8 || format_.type == DataType::Int8)
      scale.emplace(preprocessing_, input_shape, format_.type == DataType::Int8);
    for (std::int64_t sample = 0; sample < n; ++sample, to += count) {
      bytes_->read(format_.offset + static_cast<std::uint64_t>(first + sample) * bytes, scratch_);
      to_native_order(format_, scratch_);
      if (scale) {
        (*scale)(scratch_.data(), to);
        continue;
      }
      to_float(format_.type, scratch_.data(), count, to);
      scale_samples(preprocessing_, input_shape, 1, to);
    }
  }

 private:
  /// Samples of a column-major array are scattered over the whole file, so it is turned round once.
  void hold_row_major() {
    const Tensor tensor = read_array(*bytes_, format_);
    const auto* first = static_cast<const std::byte*>(tensor.raw());
    bytes_ = open_memory({first, first + tensor.bytes()});
    format_.offset = 0;
    format_.fortran_order = false;
    format_.big_endian = false;
  }

  void require_fit(const Shape& input_shape) const {
    const std::span sample = format_.shape.dims().subspan(1);
    if (input_shape.rank() == 0) {
      throw Error(ErrorCode::InvalidData, "the model's input is a scalar, which has no axis of samples");
    }
    const std::span wanted = input_shape.dims().subspan(1);
    const std::int64_t held = format_.shape.elements(1, format_.shape.rank());
    const std::int64_t taken = input_shape.elements(1, input_shape.rank());
    const std::string both = fmt::format("{} has samples of shape [{}], the model's input takes [{}]", where_,
                                         fmt::join(sample, ", "), fmt::join(wanted, ", "));
    if (held != taken) {
      throw Error(ErrorCode::InvalidData, fmt::format("{}: {} elements for {}", both, held, taken),
                  {.cure = format_.shape.elements() == taken
                               ? "add a leading axis, which counts samples"
                               : "reshape the data, or choose data made for this model"});
    }
    std::vector<std::int64_t> a = without_ones(sample);
    std::vector<std::int64_t> b = without_ones(wanted);
    if (a == b) return;
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    if (a == b) {
      throw Error(ErrorCode::InvalidData, both + ": the axes are in another order",
                  {.cure = "transpose the data"});
    }
  }

  std::filesystem::path file_;
  std::string where_;
  std::shared_ptr<NpzFile> archive_;  ///< outlives bytes_, which reads from it
  std::unique_ptr<ByteReader> bytes_;
  ArrayFormat format_;
  Preprocessing preprocessing_;
  std::optional<std::vector<std::int64_t>> labels_;
  std::vector<std::byte> scratch_;
};

/// Integer labels, one per sample; none when the array is of another kind.
std::optional<std::vector<std::int64_t>> read_labels(const NpzFile& archive, std::int64_t count,
                                                     const std::string& where) {
  const NpzArray array = archive.open("y");
  if (is_floating(array.format.type) || array.format.type == DataType::Bool) return std::nullopt;
  if (array.format.shape.rank() == 0 || array.format.shape[0] != count) {
    throw Error(ErrorCode::InvalidData,
                fmt::format("array 'y' of {} has shape {} but there are {} samples", where,
                            to_string(array.format.shape), count),
                {.cure = "give one label per sample, or leave 'y' out"});
  }
  if (array.format.shape.elements() != count) return std::nullopt;
  const Tensor tensor = read_array(*array.bytes, array.format);
  std::vector<std::int64_t> labels(static_cast<std::size_t>(count));
  const auto widen = [&]<class T>(T /*type*/) {
    const auto* from = static_cast<const T*>(tensor.raw());
    std::transform(from, from + count, labels.begin(),
                   [](T value) { return static_cast<std::int64_t>(value); });
  };
  switch (tensor.type()) {
    case DataType::Int8: widen(std::int8_t{}); break;
    case DataType::Int16: widen(std::int16_t{}); break;
    case DataType::Int32: widen(std::int32_t{}); break;
    case DataType::Int64: widen(std::int64_t{}); break;
    case DataType::UInt8: widen(std::uint8_t{}); break;
    case DataType::UInt16: widen(std::uint16_t{}); break;
    case DataType::UInt32: widen(std::uint32_t{}); break;
    default: widen(std::uint64_t{}); break;
  }
  return labels;
}

}  // namespace

std::unique_ptr<Samples> open_npy_samples(const std::filesystem::path& file,
                                          const Preprocessing& preprocessing) {
  const std::string where = fmt::format("'{}'", file.string());
  auto bytes = open_file(file);
  const ArrayFormat format = parse_npy_header(*bytes, where);
  return std::make_unique<ArraySamples>(file, where, std::move(bytes), format, preprocessing);
}

std::unique_ptr<Samples> open_npz_samples(const std::filesystem::path& file,
                                          const Preprocessing& preprocessing, const std::string& input_name) {
  auto archive = std::make_shared<NpzFile>(file);
  const bool named = !input_name.empty() && archive->has(input_name);
  if (!named && !archive->has("x")) {
    throw Error(ErrorCode::InvalidData,
                fmt::format("'{}' has no array '{}'", file.string(),
                            input_name.empty() ? "x" : input_name + "' nor an array 'x"),
                {.cure = fmt::format("rename one of what it holds: {}", archive->listing())});
  }
  const std::string array_name = named ? input_name : "x";
  NpzArray array = archive->open(array_name);
  auto samples =
      std::make_unique<ArraySamples>(file, fmt::format("array '{}' of '{}'", array_name, file.string()),
                                     std::move(array.bytes), array.format, preprocessing);
  if (archive->has("y") && array_name != "y") {
    if (auto labels = read_labels(*archive, samples->count(), fmt::format("'{}'", file.string()))) {
      samples->set_labels(std::move(*labels));
    }
  }
  samples->keep_open(std::move(archive));
  return samples;
}

std::unique_ptr<Samples> open_idx_samples(const std::filesystem::path& file,
                                          const Preprocessing& preprocessing, bool gzipped) {
  const std::string where = fmt::format("'{}'", file.string());
  auto bytes = gzipped ? open_gzip(file, idx_stream_bytes) : open_file(file);
  const ArrayFormat format = parse_idx_header(*bytes, where);
  return std::make_unique<ArraySamples>(file, where, std::move(bytes), format, preprocessing);
}

}  // namespace ember::data
