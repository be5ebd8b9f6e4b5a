#include "data/preprocessing.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <ember/error.hpp>

#include "data/byte_reader.hpp"

namespace ember {

namespace {

using nlohmann::json;

[[noreturn]] void fail(const std::string& reason, std::string cure = {}) {
  throw Error(ErrorCode::InvalidArgument, reason, {.cure = std::move(cure)});
}

double number(const std::string& key, const json& value) {
  if (!value.is_number() || !std::isfinite(value.get<double>()))
    fail(fmt::format("'{}' must be a number", key));
  return value.get<double>();
}

int integer(const std::string& key, const json& value, int least, int most) {
  const double got = number(key, value);
  if (got != std::floor(got) || got < least || got > most) {
    fail(fmt::format("'{}' must be a whole number from {} to {}", key, least, most));
  }
  return static_cast<int>(got);
}

std::vector<double> numbers(const std::string& key, const json& value) {
  std::vector<double> list;
  if (!value.is_array()) return {number(key, value)};
  for (const json& element : value) list.push_back(number(key, element));
  return list;
}

constexpr int kMaxExtent = 65500;  // the JPEG format's own limit

std::vector<int> size_of_image(const json& value) {
  if (!value.is_array()) return {integer("size", value, 1, kMaxExtent)};
  std::vector<int> size;
  for (const json& extent : value) size.push_back(integer("size", extent, 1, kMaxExtent));
  if (size.empty() || size.size() > 2) fail("'size' must be one number or [height, width]");
  return size;
}

std::string color_name(const json& value) {
  const std::string name = value.is_string() ? value.get<std::string>() : "";
  if (name != "RGB" && name != "BGR" && name != "GRAY") fail("'color' must be \"RGB\", \"BGR\" or \"GRAY\"");
  return name;
}

void set(Preprocessing& to, const std::string& key, const json& value) {
  if (key == "resize_short") to.resize_short = integer(key, value, 0, kMaxExtent);
  else if (key == "size") to.size = size_of_image(value);
  else if (key == "color") to.color = color_name(value);
  else if (key == "scale") to.scale = number(key, value);
  else if (key == "mean") to.mean = numbers(key, value);
  else if (key == "std") to.std = numbers(key, value);
  else if (key == "offset") to.offset = number(key, value);
  else if (key == "scale_after") to.scale_after = number(key, value);
  else if (key == "label_offset") to.label_offset = integer(key, value, -1'000'000, 1'000'000);
  else if (key != "data") {
    fail(fmt::format("there is no key '{}'", key),
         "known are resize_short, size, color, scale, mean, std, offset, scale_after and label_offset");
  }
  if (key == "std" && std::any_of(to.std.begin(), to.std.end(), [](double s) { return s == 0; })) {
    fail("'std' must not contain 0");
  }
}

}  // namespace

Preprocessing Preprocessing::from_json_file(const std::filesystem::path& file) {
  const std::vector<std::byte> bytes = data::read_file(file);
  Preprocessing preprocessing;
  try {
    const auto* first = reinterpret_cast<const char*>(bytes.data());
    const json document = json::parse(first, first + bytes.size());
    if (!document.is_object()) fail("it must be a JSON object");
    for (const auto& [key, value] : document.items()) set(preprocessing, key, value);
  } catch (const json::exception& error) {
    fail(fmt::format("'{}' is not valid JSON: {}", file.string(), error.what()));
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("preprocessing '{}': {}", file.string(), error.reason()),
                error.context());
  }
  return preprocessing;
}

namespace data {

namespace {

/// Which axis of the input mean and std belong to, given how many of them there are.
int channel_axis(const Shape& shape, std::size_t count) {
  const auto matches = [&](int axis) {
    return shape.rank() > axis && shape[axis] == static_cast<std::int64_t>(count);
  };
  if (matches(1)) return 1;
  const int last = shape.rank() - 1;
  if (last > 1 && matches(last)) return last;
  fail(fmt::format("preprocessing has {} values of mean or std, but the model's input is {}", count,
                   to_string(shape)),
       "give one value, or one per channel (axis 1)");
}

/// Where the values of each channel lie in `n` samples: outer times, one channel after the other, inner
/// values.
struct ChannelRuns {
  std::int64_t outer, inner;
  std::size_t channels;  ///< 1 where all share mean and std
};

ChannelRuns runs_of(const Preprocessing& preprocessing, const Shape& input_shape, std::int64_t n) {
  const std::size_t means = preprocessing.mean.size();
  const std::size_t stds = preprocessing.std.size();
  const std::size_t count = std::max({means, stds, std::size_t{1}});
  if ((means > 1 && means != count) || (stds > 1 && stds != count)) {
    fail(fmt::format("preprocessing has {} values of mean but {} of std", means, stds));
  }
  const Shape shape = input_shape.with(0, n);
  if (count == 1) return {1, shape.elements(), 1};
  const int axis = channel_axis(input_shape, count);
  return {shape.elements(0, axis), shape.elements(axis + 1, shape.rank()), count};
}

/// The arithmetic of one channel.
class ChannelScale {
 public:
  ChannelScale(const Preprocessing& preprocessing, std::size_t channel)
      : preprocessing_(preprocessing),
        mean_(pick(preprocessing.mean, channel, 0.0)),
        std_(pick(preprocessing.std, channel, 1.0)) {}

  float operator()(float x) const {
    const double scaled = (static_cast<double>(x) * preprocessing_.scale - mean_) / std_;
    return static_cast<float>((scaled + preprocessing_.offset) * preprocessing_.scale_after);
  }
  [[nodiscard]] bool changes_nothing() const {
    return preprocessing_.scale == 1.0 && mean_ == 0.0 && std_ == 1.0 && preprocessing_.offset == 0.0 &&
           preprocessing_.scale_after == 1.0;
  }

 private:
  static double pick(const std::vector<double>& values, std::size_t channel, double otherwise) {
    return values.empty() ? otherwise : values[values.size() == 1 ? 0 : channel];
  }

  const Preprocessing& preprocessing_;
  double mean_, std_;
};

}  // namespace

void scale_samples(const Preprocessing& preprocessing, const Shape& input_shape, std::int64_t n,
                   float* samples) {
  const ChannelRuns runs = runs_of(preprocessing, input_shape, n);
  for (std::int64_t o = 0; o < runs.outer; ++o) {
    for (std::size_t channel = 0; channel < runs.channels; ++channel, samples += runs.inner) {
      const ChannelScale scale(preprocessing, channel);
      if (!scale.changes_nothing()) std::transform(samples, samples + runs.inner, samples, scale);
    }
  }
}

ByteScale::ByteScale(const Preprocessing& preprocessing, const Shape& input_shape, bool is_signed) {
  const ChannelRuns runs = runs_of(preprocessing, input_shape, 1);
  outer_ = runs.outer;
  inner_ = runs.inner;
  table_.resize(runs.channels);
  for (std::size_t channel = 0; channel < runs.channels; ++channel) {
    const ChannelScale scale(preprocessing, channel);
    for (std::size_t byte = 0; byte < kBytes; ++byte) {
      const int value = is_signed && byte >= kBytes / 2 ? static_cast<int>(byte) - static_cast<int>(kBytes)
                                                        : static_cast<int>(byte);
      table_[channel][byte] = scale(static_cast<float>(value));
    }
  }
}

void ByteScale::operator()(const std::byte* sample, float* to) const {
  for (std::int64_t o = 0; o < outer_; ++o) {
    for (const std::array<float, kBytes>& scaled : table_) {
      to = std::transform(sample, sample + inner_, to,
                          [&](std::byte value) { return scaled[std::to_integer<std::size_t>(value)]; });
      sample += inner_;
    }
  }
}

std::string describe(const Preprocessing& preprocessing) {
  return fmt::format(
      "resize_short {} size [{}] color {} scale {} mean [{}] std [{}] offset {} scale_after {}",
      preprocessing.resize_short, fmt::join(preprocessing.size, ", "), preprocessing.color,
      preprocessing.scale, fmt::join(preprocessing.mean, ", "), fmt::join(preprocessing.std, ", "),
      preprocessing.offset, preprocessing.scale_after);
}

}  // namespace data

}  // namespace ember
