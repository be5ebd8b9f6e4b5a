#include "surgery/random_input.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace ember::surgery {

namespace {

/// In [0, 1); the standard's distributions differ between libraries.
double unit(std::mt19937_64& generator) { return static_cast<double>(generator() >> 11) * 0x1p-53; }

template <class T>
void fill(std::span<T> values, std::mt19937_64& generator) {
  for (T& value : values) {
    const double drawn = 2 * unit(generator) - 1;
    if constexpr (std::is_same_v<T, double>) value = drawn;
    else value = static_cast<T>(static_cast<float>(drawn));
  }
}

}  // namespace

void RangeOf::read(std::int64_t first, std::int64_t n, const Shape& input_shape, float* to) {
  samples_.read(first, n, input_shape, to);
  const auto each = static_cast<std::size_t>(input_shape.elements(1, input_shape.rank()));
  if (lower_.size() != each) {
    lower_.assign(each, std::numeric_limits<float>::infinity());
    upper_.assign(each, -std::numeric_limits<float>::infinity());
  }
  for (std::int64_t sample = 0; sample < n; ++sample) {
    const auto values = std::span(to, static_cast<std::size_t>(n) * each)
                            .subspan(static_cast<std::size_t>(sample) * each, each);
    for (std::size_t i = 0; i < each; ++i) {
      if (!std::isfinite(values[i])) continue;
      lower_[i] = std::min(lower_[i], values[i]);
      upper_[i] = std::max(upper_[i], values[i]);
    }
  }
}

RandomSamples::RandomSamples(std::int64_t count, std::uint64_t seed, std::vector<float> lower,
                             std::vector<float> upper, std::string description)
    : count_(count),
      seed_(seed),
      lower_(std::move(lower)),
      upper_(std::move(upper)),
      description_(std::move(description)) {
  bool valid = lower_.size() == upper_.size() && !lower_.empty();
  for (std::size_t i = 0; valid && i < lower_.size(); ++i) {
    valid = std::isfinite(lower_[i]) && std::isfinite(upper_[i]) && lower_[i] <= upper_[i];
  }
  if (valid) return;
  throw Error(ErrorCode::InvalidArgument,
              "the ends of the random input are not finite, or lower is above upper",
              {.cure = "give as many lower as upper ends: one for all elements, or one each"});
}

void RandomSamples::read(std::int64_t first, std::int64_t n, const Shape& input_shape, float* to) {
  const auto each = static_cast<std::size_t>(input_shape.elements(1, input_shape.rank()));
  if (lower_.size() != 1 && lower_.size() != each) {
    throw Error(ErrorCode::InvalidArgument,
                fmt::format("the domain has {} elements, a sample {}", lower_.size(), each));
  }
  for (std::int64_t sample = first; sample < first + n; ++sample) {
    std::seed_seq sequence{static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32U),
                           static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32)};
    std::mt19937_64 generator(sequence);
    for (std::size_t i = 0; i < each; ++i) {
      const auto low = static_cast<double>(lower_[lower_.size() == 1 ? 0 : i]);
      const auto high = static_cast<double>(upper_[upper_.size() == 1 ? 0 : i]);
      *to++ = static_cast<float>(low + (high - low) * unit(generator));
    }
  }
}

void fill_random(Session& session, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  for (const std::string& name : session.input_names()) {
    const TensorView view = session.input(name);
    switch (view.type()) {
      case DataType::Float32: fill(view.data<float>(), generator); break;
      case DataType::Float64: fill(view.data<double>(), generator); break;
      case DataType::Float16: fill(view.data<Half>(), generator); break;
      case DataType::BFloat16: fill(view.data<BFloat>(), generator); break;
      default: std::fill_n(static_cast<std::byte*>(view.raw()), view.bytes(), std::byte{0}); break;
    }
  }
}

}  // namespace ember::surgery
