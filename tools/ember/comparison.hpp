#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ember/tensor.hpp>

namespace ember::cli {

struct Tolerance {
  std::optional<double> absolute;  ///< default: by what makes the output, see compare()
  double relative = 1e-3;
};

/// How an output differs from what was expected.
struct Comparison {
  double max_absolute = 0;
  double max_relative = 0;  ///< of |expected|, over the elements where that is not 0
  std::vector<std::int64_t>
      outside;                       ///< elements with |actual − expected| > absolute + relative · |expected|
  std::int64_t ill_conditioned = 0;  ///< elements that forgive() took out of `outside`
  std::string mismatch;              ///< what is wrong as a whole: kind, shape, argmax; "" when nothing is

  [[nodiscard]] bool passed() const { return mismatch.empty() && outside.empty(); }
};

/// NaN matches NaN and an infinity itself. Whole numbers and float types compare by value. Without an
/// absolute tolerance that of 1e-4 is used; for half-precision outputs 1e-3, their own relative precision;
/// and when the output is dequantised with the scale `quantization_step` > 0, four steps and nothing
/// relative, but the same argmax per sample: a rounding tie that is decided the other way travels on.
Comparison compare(const ConstTensorView& actual, const ConstTensorView& expected, const Tolerance& tolerance,
                   double quantization_step = 0);

/// Takes elements out of Comparison::outside that no float32 engine can be expected to agree on: `others` are
/// the same output computed by other exact-arithmetic-equal ways, and their spread explains the difference.
void forgive_ill_conditioned(Comparison& comparison, const ConstTensorView& actual,
                             const ConstTensorView& expected, const std::vector<ConstTensorView>& others);

/// The elements of any tensor as doubles, one at a time.
double element(const ConstTensorView& tensor, std::int64_t index);

}  // namespace ember::cli
