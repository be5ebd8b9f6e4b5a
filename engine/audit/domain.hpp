#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ember/audit.hpp>

#include "audit/bounds.hpp"

namespace ember::auditing {

/// The inputs that proofs are about, element by element of one model input of batch 1.
struct Domain {
  std::vector<float> lower, upper;
  std::string source;
  bool from_data = false;
  [[nodiscard]] std::size_t size() const noexcept { return lower.size(); }
  [[nodiscard]] float extent(std::size_t i) const { return upper[i] - lower[i]; }
};

/// The domain for a model input of `elements` elements per sample. Throws Error (InvalidData) when it does
/// not fit, is empty (lower > upper) or not finite.
Domain spread(const InputDomain& given, std::int64_t elements);

/// What reading the samples tells of a domain: the range of each element (over finite values), and how many
/// samples lie outside `domain` (nullptr: none is asked for).
struct DataRange {
  Domain range;
  std::int64_t outside = 0;
};
DataRange range_of(Samples& samples, std::int64_t count, const Shape& input_shape, const Domain* domain);

/// The domain repeated `batch` times, as bounds.
Bounds input_bounds(const Domain& domain, std::int64_t batch);

}  // namespace ember::auditing
