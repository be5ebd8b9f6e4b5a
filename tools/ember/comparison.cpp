#include "comparison.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

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

Comparison compare(const ConstTensorView& actual, const ConstTensorView& expected,
                   const Tolerance& tolerance) {
  Comparison result;
  if (actual.shape() != expected.shape() || is_floating(actual.type()) != is_floating(expected.type())) {
    result.kind_mismatch =
        fmt::format("{} {} where {} {} is expected", to_string(actual.type()), to_string(actual.shape()),
                    to_string(expected.type()), to_string(expected.shape()));
    return result;
  }
  for (std::int64_t i = 0; i < actual.elements(); ++i) {
    const double a = element(actual, i);
    const double e = element(expected, i);
    if (a == e || (std::isnan(a) && std::isnan(e))) continue;
    double error = std::abs(a - e);
    if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
    result.max_absolute = std::max(result.max_absolute, error);
    if (e != 0) result.max_relative = std::max(result.max_relative, error / std::abs(e));
    if (!(error <= tolerance.absolute + tolerance.relative * std::abs(e)) || std::isinf(error))
      ++result.outside;
  }
  return result;
}

}  // namespace ember::cli
