#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/activation.hpp"
#include "simd/isa.hpp"

namespace ember::test {

/// An activation and how exact its kernel promises to be (kernels/activation_math.hpp).
struct ActivationBound {
  std::string name;
  kernels::Activation activation;
  /// What an absolute error is relative to; Ulp measures in units of the last place of the exact result
  /// and forgives 2^-120 absolutely, because results may be flushed to zero.
  enum class Measure : std::uint8_t { Ulp, OneOrInput, Terms } measure = Measure::Ulp;
  double limit = 0.5;
  bool within_one = false;  ///< |result| <= 1 must hold exactly
};

/// Every kind of activation with its typical parameters, and some with others.
std::vector<ActivationBound> activation_bounds();

/// The worst argument of a sweep.
struct WorstError {
  double error = 0.0;  ///< in the bound's measure; infinite where NaN, infinity or |result| <= 1 is wrong
  float x = 0.0F;
  float got = 0.0F;
  double want = 0.0;
};

/// Applies the kernels of each instruction set to the float32 bit patterns 0, stride, 2 stride, … and
/// compares with double arithmetic. One result per entry of `isas`.
std::vector<WorstError> sweep(const ActivationBound& bound, const std::vector<simd::Isa>& isas,
                              std::uint64_t stride);

/// Special arguments: zeros, infinities, NaN, subnormals, ends of ranges and their neighbours.
std::vector<float> special_arguments();
/// The error of one result in the bound's measure.
double error_of(const ActivationBound& bound, float x, float got);

}  // namespace ember::test
