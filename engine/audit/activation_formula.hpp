#pragma once

#include <cstdint>
#include <vector>

#include "audit/formula.hpp"
#include "kernels/activation.hpp"

namespace ember::auditing {

/// An activation, element by element.
class ActivationFormula final : public PointwiseFormula {
 public:
  explicit ActivationFormula(const kernels::Activation& function) : function_(function) {}
  /// PRelu: the slope of each element, as an index into `slopes`.
  ActivationFormula(std::vector<double> slopes, std::vector<std::int32_t> slope_index);

  [[nodiscard]] double value(double x, std::int64_t i) const override;
  [[nodiscard]] double slope(double x, std::int64_t i) const override;
  [[nodiscard]] Interval hull(Interval x, std::int64_t i) const override;
  [[nodiscard]] Lines lines(Interval x, std::int64_t i) const override;

 private:
  [[nodiscard]] double alpha(std::int64_t i) const;
  [[nodiscard]] double extreme(double x, std::int64_t i) const;
  [[nodiscard]] double error(Interval x, double largest, std::int64_t i) const;

  kernels::Activation function_;
  std::vector<double> slopes_;
  std::vector<std::int32_t> slope_index_;
};

}  // namespace ember::auditing
