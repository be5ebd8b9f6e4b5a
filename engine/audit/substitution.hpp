#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "audit/bounds.hpp"

namespace ember::auditing {

/// Backward linear bounds (CROWN, DeepPoly): an element of a variable is bounded by a linear function of the
/// variables before it, and those are replaced in turn by theirs until only the network's input is left. What
/// inputs have in common is kept, which intervals forget. Rounding is added at every formula.
struct LinearBound {
  double upper = 0.0;
  /// Of a network of one input: the bound's coefficient at each of its elements. The corner of the domain
  /// that has these signs is where the linear bound is largest.
  std::vector<double> coefficients;
};

/// Upper bounds of sign · element, for some elements of one variable. `bounds` must be there for everything
/// the variable follows from. Safe to call from several threads.
std::vector<LinearBound> substitute(const Formulas& formulas, const AllBounds& bounds, int variable,
                                    std::span<const std::int32_t> elements, double sign,
                                    bool with_coefficients = false);

/// Elements of a variable that some nonlinear formula reads where its linear bounds are not exact.
std::vector<std::int32_t> loose_elements(const Formulas& formulas, const AllBounds& bounds, int variable);

/// Narrows the bounds of `elements` by substitution, a few at a time. False when `stop` ended it.
bool tighten(const Formulas& formulas, AllBounds& bounds, int variable,
             std::span<const std::int32_t> elements, Parallel& parallel, const std::function<bool()>& stop);

}  // namespace ember::auditing
