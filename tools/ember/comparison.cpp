#include "comparison.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <fmt/format.h>

namespace ember::cli {

namespace {

template <class T>
double at(const ConstTensorView& tensor, std::int64_t index) {
  return static_cast<double>(static_cast<const T*>(tensor.raw())[index]);
}
template <class T>
double half_at(const ConstTensorView& tensor, std::int64_t index) {
  return static_cast<double>(static_cast<float>(static_cast<const T*>(tensor.raw())[index]));
}

}  // namespace

double element(const ConstTensorView& tensor, std::int64_t index) {
  switch (tensor.type()) {
    case DataType::Float32: return at<float>(tensor, index);
    case DataType::Float64: return at<double>(tensor, index);
    case DataType::Float16: return half_at<Half>(tensor, index);
    case DataType::BFloat16: return half_at<BFloat>(tensor, index);
    case DataType::Int8: return at<std::int8_t>(tensor, index);
    case DataType::Int16: return at<std::int16_t>(tensor, index);
    case DataType::Int32: return at<std::int32_t>(tensor, index);
    case DataType::Int64: return at<std::int64_t>(tensor, index);
    case DataType::UInt8:
    case DataType::Bool: return at<std::uint8_t>(tensor, index);
    case DataType::UInt16: return at<std::uint16_t>(tensor, index);
    case DataType::UInt32: return at<std::uint32_t>(tensor, index);
    case DataType::UInt64: return at<std::uint64_t>(tensor, index);
    case DataType::Undefined: break;
  }
  return 0;
}

namespace {

constexpr double kSinglePrecision = 1e-4;
constexpr double kHalfPrecision = 1e-3;
constexpr double kQuantizationSteps = 4;

/// Where the largest of elements first … first + count − 1 is.
std::int64_t argmax(const ConstTensorView& tensor, std::int64_t first, std::int64_t count) {
  std::int64_t best = first;
  for (std::int64_t i = first + 1; i < first + count; ++i) {
    if (element(tensor, i) > element(tensor, best)) best = i;
  }
  return best;
}

/// Samples (of axis 0) whose argmax is another one; where values tie, any of them may be it.
std::int64_t changed_argmaxes(const ConstTensorView& actual, const ConstTensorView& expected) {
  if (actual.shape().rank() < 2 || actual.elements() == 0) return 0;
  const std::int64_t samples = actual.shape()[0];
  const std::int64_t count = actual.elements() / samples;
  std::int64_t changed = 0;
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    const std::int64_t got = argmax(actual, sample * count, count);
    const std::int64_t wanted = argmax(expected, sample * count, count);
    changed += element(expected, got) == element(expected, wanted) ? 0 : 1;
  }
  return changed;
}

}  // namespace

Comparison compare(const ConstTensorView& actual, const ConstTensorView& expected, const Tolerance& tolerance,
                   double quantization_step) {
  Comparison result;
  if (actual.shape() != expected.shape() || is_floating(actual.type()) != is_floating(expected.type())) {
    result.mismatch =
        fmt::format("{} {} where {} {} is expected", to_string(actual.type()), to_string(actual.shape()),
                    to_string(expected.type()), to_string(expected.shape()));
    return result;
  }
  const bool by_steps = !tolerance.absolute && quantization_step > 0;
  const double usual = actual.type() == DataType::Float16 ? kHalfPrecision : kSinglePrecision;
  const double absolute =
      by_steps ? kQuantizationSteps * quantization_step : tolerance.absolute.value_or(usual);
  const double relative = by_steps ? 0 : tolerance.relative;
  for (std::int64_t i = 0; i < actual.elements(); ++i) {
    const double a = element(actual, i);
    const double e = element(expected, i);
    if (a == e || (std::isnan(a) && std::isnan(e))) continue;
    double error = std::abs(a - e);
    if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
    result.max_absolute = std::max(result.max_absolute, error);
    if (e != 0) result.max_relative = std::max(result.max_relative, error / std::abs(e));
    if (!(error <= absolute + relative * std::abs(e)) || std::isinf(error)) result.outside.push_back(i);
  }
  if (by_steps && result.outside.empty()) {
    if (const std::int64_t changed = changed_argmaxes(actual, expected); changed > 0)
      result.mismatch = fmt::format("another argmax in {} of {} samples", changed, actual.shape()[0]);
  }
  return result;
}

void forgive_ill_conditioned(Comparison& comparison, const ConstTensorView& actual,
                             const ConstTensorView& expected, const std::vector<ConstTensorView>& others) {
  constexpr double kSpreads = 4;  // the expected value is one more draw from the same errors
  const auto explained = [&](std::int64_t i) {
    const double a = element(actual, i);
    double least = a;
    double most = a;
    for (const ConstTensorView& other : others) {
      least = std::min(least, element(other, i));
      most = std::max(most, element(other, i));
    }
    return std::abs(a - element(expected, i)) <= kSpreads * (most - least);
  };
  comparison.ill_conditioned = static_cast<std::int64_t>(std::erase_if(comparison.outside, explained));
}

}  // namespace ember::cli
