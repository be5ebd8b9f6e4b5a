#include "audit/feed.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

namespace ember::auditing {

namespace {

ValueInfo only_input(const Model& model) {
  std::vector<ValueInfo> inputs = model.inputs();
  if (inputs.size() == 1) return std::move(inputs.front());
  throw Error(ErrorCode::Unsupported,
              fmt::format("an audit feeds one input, the model has {}", inputs.size()),
              {.model = model.name(), .cure = "make the other inputs constants of the model"});
}

template <class T>
void convert(std::span<const float> from, const TensorView& to) {
  const std::span<T> target = to.data<T>();
  for (std::size_t i = 0; i < from.size(); ++i) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      // Rounded and clamped to what T holds; NaN becomes 0. The upper end may not be a float, so it is
      // excluded.
      constexpr auto kLow = static_cast<float>(std::numeric_limits<T>::min());
      constexpr auto kHigh = static_cast<float>(std::numeric_limits<T>::max());
      const float rounded = std::nearbyint(from[i]);
      if (rounded >= kHigh) target[i] = std::numeric_limits<T>::max();
      else if (rounded <= kLow) target[i] = std::numeric_limits<T>::min();
      else target[i] = std::isnan(rounded) ? T{0} : static_cast<T>(rounded);
    } else if constexpr (std::is_same_v<T, bool>) {
      target[i] = from[i] != 0.0F;
    } else {
      target[i] = static_cast<T>(from[i]);
    }
  }
}

void convert_to(std::span<const float> from, const TensorView& to) {
  switch (to.type()) {
    case DataType::Float32: std::memcpy(to.raw(), from.data(), from.size_bytes()); return;
    case DataType::Float64: convert<double>(from, to); return;
    case DataType::Float16: convert<Half>(from, to); return;
    case DataType::BFloat16: convert<BFloat>(from, to); return;
    case DataType::Int8: convert<std::int8_t>(from, to); return;
    case DataType::Int16: convert<std::int16_t>(from, to); return;
    case DataType::Int32: convert<std::int32_t>(from, to); return;
    case DataType::Int64: convert<std::int64_t>(from, to); return;
    case DataType::UInt8: convert<std::uint8_t>(from, to); return;
    case DataType::UInt16: convert<std::uint16_t>(from, to); return;
    case DataType::UInt32: convert<std::uint32_t>(from, to); return;
    case DataType::UInt64: convert<std::uint64_t>(from, to); return;
    case DataType::Bool: convert<bool>(from, to); return;
    case DataType::Undefined: break;
  }
  throw Error(ErrorCode::Internal, "the input has no element type");
}

}  // namespace

Feed::Feed(const Model& model, std::int64_t batch, std::int64_t samples) : input_(only_input(model)) {
  batch_axis_ = input_.dims.size() > 1;
  for (std::size_t i = batch_axis_ ? 1 : 0; i < input_.dims.size(); ++i) {
    if (input_.dims[i].size > 0) continue;
    throw Error(ErrorCode::Unsupported, fmt::format("axis {} of the input has no fixed extent", i),
                {.model = model.name(),
                 .tensor = input_.name,
                 .cure = "export the model with all extents but the batch fixed"});
  }
  const std::int64_t fixed = batch_axis_ ? input_.dims[0].size : 1;
  open_batch_ = fixed < 0;
  if (!open_batch_) {
    if (batch != 0 && batch != fixed) {
      throw Error(
          ErrorCode::InvalidArgument,
          fmt::format("a batch of {} was asked for, the model fixes it at {}", batch, fixed),
          {.model = model.name(), .tensor = input_.name, .cure = "leave the batch size to the model"});
    }
    batch_ = fixed;
    return;
  }
  // Enough values to keep a matrix product busy, few enough for the activations to stay in cache.
  constexpr std::int64_t kValues = 65536;
  constexpr std::int64_t kMost = 64;
  set_batch(1);
  const std::int64_t chosen = std::clamp<std::int64_t>(kValues / shape().elements(), 1, kMost);
  set_batch(std::min(batch != 0 ? batch : chosen, std::max<std::int64_t>(samples, 1)));
}

Shape Feed::shape() const {
  std::vector<std::int64_t> dims;
  for (const Dimension& dim : input_.dims) dims.push_back(dim.size);
  if (batch_axis_) dims[0] = batch_;
  return Shape(dims);
}

Shape Feed::prepare() {
  const Shape model_shape = shape();
  std::vector<std::int64_t> dims(model_shape.begin(), model_shape.end());
  if (!batch_axis_) dims.insert(dims.begin(), 1);
  const Shape with_batch(dims);
  values_.resize(static_cast<std::size_t>(with_batch.elements()));
  return with_batch;
}

void Feed::finish(const Shape& shape, std::int64_t n, Session& session) {
  const std::int64_t per_sample = shape.elements(1, shape.rank());
  const float* last = values_.data() + (n - 1) * per_sample;
  for (std::int64_t i = n; i < shape[0]; ++i) std::copy_n(last, per_sample, values_.data() + i * per_sample);
  convert_to(values_, session.input(input_.name));
}

void Feed::load(Samples& samples, std::int64_t first, std::int64_t n, Session& session,
                std::vector<std::int64_t>& not_finite) {
  const Shape with_batch = prepare();
  const std::int64_t per_sample = with_batch.elements(1, with_batch.rank());
  samples.read(first, n, with_batch, values_.data());
  for (std::int64_t i = 0; i < n; ++i) {
    const auto sample = std::span(values_).subspan(static_cast<std::size_t>(i * per_sample),
                                                   static_cast<std::size_t>(per_sample));
    if (!std::ranges::all_of(sample, [](float value) { return std::isfinite(value); }))
      not_finite.push_back(first + i);
  }
  finish(with_batch, n, session);
}

void Feed::load(Samples& samples, std::span<const std::int64_t> which, Session& session) {
  const Shape with_batch = prepare();
  const std::int64_t per_sample = with_batch.elements(1, with_batch.rank());
  float* to = values_.data();
  for (const std::int64_t sample : which) {
    samples.read(sample, 1, with_batch, to);
    to += per_sample;
  }
  finish(with_batch, static_cast<std::int64_t>(which.size()), session);
}

}  // namespace ember::auditing
