#include "audit/domain.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include <ember/npy.hpp>

namespace ember {

namespace {

/// An array of the file as float32; rounding may only widen the domain.
Tensor as_float(const Tensor& array, bool lower, const std::string& file) {
  Tensor result(DataType::Float32, array.shape());
  const auto to = result.data<float>();
  const auto convert = [&](auto from) {
    for (std::size_t i = 0; i < to.size(); ++i) {
      const auto wanted = static_cast<double>(from[i]);
      to[i] = static_cast<float>(wanted);
      constexpr float kInfinity = std::numeric_limits<float>::infinity();
      if (lower && static_cast<double>(to[i]) > wanted) to[i] = std::nextafter(to[i], -kInfinity);
      if (!lower && static_cast<double>(to[i]) < wanted) to[i] = std::nextafter(to[i], kInfinity);
    }
  };
  switch (array.type()) {
    case DataType::Float32: convert(array.data<float>()); break;
    case DataType::Float64: convert(array.data<double>()); break;
    case DataType::Int32: convert(array.data<std::int32_t>()); break;
    case DataType::Int64: convert(array.data<std::int64_t>()); break;
    case DataType::UInt8: convert(array.data<std::uint8_t>()); break;
    default:
      throw Error(ErrorCode::InvalidData, fmt::format("a domain of {}", to_string(array.type())),
                  {.tensor = file, .cure = "store 'lower' and 'upper' as float32"});
  }
  return result;
}

}  // namespace

InputDomain InputDomain::load(const std::filesystem::path& file) {
  const std::map<std::string, Tensor> arrays = load_npz(file);
  InputDomain domain{.lower = {}, .upper = {}, .source = file.string()};
  for (const auto& [name, to] : {std::pair{"lower", &domain.lower}, std::pair{"upper", &domain.upper}}) {
    const auto found = arrays.find(name);
    if (found == arrays.end()) {
      throw Error(
          ErrorCode::InvalidData, fmt::format("'{}' has no array '{}'", file.string(), name),
          {.cure = "a domain file holds the arrays 'lower' and 'upper', scalar or shaped like the input"});
    }
    *to = as_float(found->second, to == &domain.lower, file.string());
  }
  return domain;
}

namespace auditing {

Domain spread(const InputDomain& given, std::int64_t elements) {
  const auto fail = [&](const std::string& what) {
    throw Error(
        ErrorCode::InvalidData, what,
        {.tensor = given.source, .cure = "give 'lower' and 'upper' as scalars or shaped like one input"});
  };
  Domain domain{.lower = {}, .upper = {}, .source = given.source};
  for (const auto& [tensor, to] :
       {std::pair{&given.lower, &domain.lower}, std::pair{&given.upper, &domain.upper}}) {
    if (tensor->empty()) fail("the domain has no bounds");
    const auto values = tensor->data<float>();
    if (values.size() == 1) to->assign(static_cast<std::size_t>(elements), values[0]);
    else to->assign(values.begin(), values.end());
    if (static_cast<std::int64_t>(to->size()) != elements) {
      fail(fmt::format("the domain has {} elements, an input of the model {}", to->size(), elements));
    }
  }
  for (std::size_t i = 0; i < domain.size(); ++i) {
    if (!std::isfinite(domain.lower[i]) || !std::isfinite(domain.upper[i])) {
      fail(fmt::format("element {} of the domain is not finite", i));
    }
    if (domain.lower[i] > domain.upper[i]) {
      fail(fmt::format("the domain is empty: element {} runs from {} to {}", i, domain.lower[i],
                       domain.upper[i]));
    }
  }
  return domain;
}

DataRange range_of(Samples& samples, std::int64_t count, const Shape& input_shape, const Domain* domain) {
  const auto elements = static_cast<std::size_t>(input_shape.elements(1, input_shape.rank()));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  DataRange result;
  result.range = {.lower = std::vector<float>(elements, kInfinity),
                  .upper = std::vector<float>(elements, -kInfinity),
                  .source = "the range of the data",
                  .from_data = true};
  constexpr std::int64_t kValues = std::int64_t{1} << 18;
  const std::int64_t step = std::clamp<std::int64_t>(
      kValues / std::max<std::int64_t>(1, input_shape.elements(1, input_shape.rank())), 1, 64);
  std::vector<float> values(static_cast<std::size_t>(step) * elements);
  for (std::int64_t first = 0; first < count; first += step) {
    const std::int64_t n = std::min(step, count - first);
    samples.read(first, n, input_shape.with(0, n), values.data());
    for (std::size_t s = 0; s < static_cast<std::size_t>(n); ++s) {
      bool inside = true;
      for (std::size_t i = 0; i < elements; ++i) {
        const float value = values[s * elements + i];
        if (domain != nullptr) inside = inside && value >= domain->lower[i] && value <= domain->upper[i];
        if (!std::isfinite(value)) continue;
        result.range.lower[i] = std::min(result.range.lower[i], value);
        result.range.upper[i] = std::max(result.range.upper[i], value);
      }
      result.outside += inside ? 0 : 1;
    }
  }
  for (std::size_t i = 0; i < elements; ++i) {
    if (result.range.lower[i] > result.range.upper[i]) result.range.lower[i] = result.range.upper[i] = 0.0F;
  }
  return result;
}

Bounds input_bounds(const Domain& domain, std::int64_t batch) {
  Bounds bounds;
  for (std::int64_t n = 0; n < batch; ++n) {
    bounds.lower.insert(bounds.lower.end(), domain.lower.begin(), domain.lower.end());
    bounds.upper.insert(bounds.upper.end(), domain.upper.begin(), domain.upper.end());
  }
  return bounds;
}

}  // namespace auditing

}  // namespace ember
