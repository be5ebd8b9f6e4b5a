#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "ops/conv_geometry.hpp"

namespace ember::auditing {

// How far float32 arithmetic may be from exact arithmetic. Everything that a claim of soundness rests on is
// in this file and in the hulls of pointwise formulas.

/// Half the distance from 1 to the next float.
inline constexpr double kUnit = 0x1p-24;
/// What flushing results and operands below the normal range to zero may cost, per operation.
inline constexpr double kFlush = 0x1p-126;
/// Beyond this a partial sum may overflow.
inline constexpr double kOverflow = 3.4e38;

/// Bound of the relative error of n roundings in a row: n u / (1 − n u). The factor covers that the bound,
/// and the sums it is applied to, are themselves computed, in double.
inline double gamma(double n) {
  const double nu = n * kUnit;
  return nu < 0.5 ? nu / (1.0 - nu) * (1.0 + 1e-6) : 1e300;
}

/// What a sum of `terms` products and a constant may err by in any order of summation, with and without fused
/// multiply-adds, when each product has seen up to `roundings` roundings before: |computed − exact| <=
/// gamma(n) · magnitude + n subnormals, where magnitude is the sum of |weight| · max|x| and |constant|.
/// `weights` and `inputs` are the sums of |weight| and of max|x|: a subnormal factor counts as 0.
inline double sum_error(double terms, int roundings, double magnitude, double weights, double inputs) {
  const double n = terms + static_cast<double>(roundings);
  return gamma(n) * magnitude + kFlush * (2.0 * n + weights + inputs);
}

/// The convolutions that the engine may compute by Winograd's F(2×2, 3×3) or F(4×4, 3×3), whose error is not
/// relative to the products of the direct sum. Those of few groups, too: they may be computed as one group
/// with zeros where the filters have none, which add nothing.
bool may_be_transformed(const ops::ConvGeometry& geometry);

/// Bounds for a convolution that may be computed by such a transform, Y = Aᵀ[Σ_c (G g Gᵀ) ∘ (Bᵀ d B)]A. Each
/// element of Y is a multilinear form in the weights and inputs, of which every monomial meets at most
/// C + kTransformRoundings roundings on its way; so the error is at most gamma of that times the form with
/// all factors replaced by their magnitudes. Inputs outside the window take part, so that their largest
/// magnitude per channel counts.
class TransformedFilters {
 public:
  TransformedFilters() = default;
  /// Empty for a convolution that is always computed directly. `weights` are looked at when first needed.
  TransformedFilters(const ops::ConvGeometry& g, std::span<const float> weights);

  [[nodiscard]] bool empty() const noexcept { return made_ == nullptr; }
  /// Adds the bound to `error`, by output element. `inputs`: max|x| by input element.
  void add_error(const ops::ConvGeometry& g, std::span<const double> inputs, std::span<double> error) const;

 private:
  struct Made {
    std::once_flag once;
    std::vector<double> factors;
  };
  /// By output channel and channel of its group: the form's value for inputs of magnitude 1.
  [[nodiscard]] const std::vector<double>& factors() const;

  std::span<const float> weights_;
  std::shared_ptr<Made> made_;
};

}  // namespace ember::auditing
