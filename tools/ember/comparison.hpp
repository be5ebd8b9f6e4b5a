#pragma once

#include <cstdint>
#include <string>

#include <ember/tensor.hpp>

namespace ember::cli {

struct Tolerance {
  double absolute = 1e-4;
  double relative = 1e-3;
};

/// How an output differs from what was expected.
struct Comparison {
  double max_absolute = 0;
  double max_relative = 0;    ///< of |expected|, over the elements where that is not 0
  std::int64_t outside = 0;   ///< elements with |actual − expected| > absolute + relative · |expected|
  std::string kind_mismatch;  ///< shapes or element types that cannot be compared; "" when they can

  [[nodiscard]] bool passed() const { return kind_mismatch.empty() && outside == 0; }
};

/// NaN matches NaN and an infinity itself. Whole numbers and float types compare by value.
Comparison compare(const ConstTensorView& actual, const ConstTensorView& expected,
                   const Tolerance& tolerance);

/// The elements of any tensor as doubles, one at a time.
double element(const ConstTensorView& tensor, std::int64_t index);

}  // namespace ember::cli
