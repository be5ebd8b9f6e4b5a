#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ember/tensor.hpp>

namespace ember::auditing {

// A network written out as formulas over scalars, for fixed input shapes. Bounds and gradients ask nothing
// of an operator but which of these few kinds of formula its output elements are.

/// A closed interval. An infinite end stands for "anything, NaN included".
struct Interval {
  double lower = -std::numeric_limits<double>::infinity();
  double upper = std::numeric_limits<double>::infinity();
};

/// lower(x) = lower_slope x + lower_offset <= f(x) <= upper_slope x + upper_offset over an interval.
struct Lines {
  double lower_slope = 0, lower_offset = 0;
  double upper_slope = 0, upper_offset = 0;
};

/// Element `index` of input `input` of a formula.
struct Element {
  std::int32_t input = 0;
  std::int32_t index = 0;
};

struct Term {
  std::int32_t input = 0;
  std::int32_t index = 0;
  double weight = 1.0;
};

/// sum of terms + constant
struct LinearRow {
  std::vector<Term> terms;
  double constant = 0.0;
  double magnitude = 0.0;  ///< the constant's share of what rounding is relative to, at least |constant|

  void clear() {
    terms.clear();
    constant = magnitude = 0.0;
  }
  void set_constant(double value) {
    constant = value;
    magnitude = value < 0 ? -value : value;
  }
};

/// What a linear formula's terms can be, for errors that depend on more than one output's own terms.
struct Magnitudes {
  std::span<const double> of_input;  ///< max(|lower|, |upper|) by element
};

class LinearFormula;
class PointwiseFormula;
class MaximumFormula;
class ProductFormula;
class OpaqueFormula;

/// How the elements of one variable follow from those of others.
class Formula {
 public:
  virtual ~Formula() = default;
  std::string node;         ///< label of the ONNX node
  std::string op;           ///< its operator
  std::vector<int> inputs;  ///< variables
  int output = -1;          ///< variable

  [[nodiscard]] virtual const LinearFormula* linear() const noexcept { return nullptr; }
  [[nodiscard]] virtual const PointwiseFormula* pointwise() const noexcept { return nullptr; }
  [[nodiscard]] virtual const MaximumFormula* maximum() const noexcept { return nullptr; }
  [[nodiscard]] virtual const ProductFormula* product() const noexcept { return nullptr; }
  [[nodiscard]] virtual const OpaqueFormula* opaque() const noexcept { return nullptr; }
};

/// Each output is a weighted sum of inputs and a constant.
class LinearFormula : public Formula {
 public:
  [[nodiscard]] const LinearFormula* linear() const noexcept final { return this; }
  virtual void row(std::int64_t output, LinearRow& row) const = 0;
  /// Roughly how many terms a row has.
  [[nodiscard]] virtual double terms_per_row() const = 0;
  /// The engine only copies elements: there is no rounding.
  bool exact = false;
  /// Roundings of each product on its way into the sum, beyond one per term (see rounding.hpp).
  int roundings = 4;
  /// The engine adds these very products, in some order. Then a sum of terms of one sign has that sign,
  /// however it is rounded.
  bool direct = true;
  /// Adds to `error` (by output) what algorithms that do not add these very products may err beyond that.
  virtual void add_error(const std::vector<Magnitudes>& /*inputs*/, std::span<double> /*error*/) const {}
  /// add_error() adds something.
  [[nodiscard]] virtual bool adds_error() const { return false; }
};

/// output[i] = f_i(input[i])
class PointwiseFormula : public Formula {
 public:
  [[nodiscard]] const PointwiseFormula* pointwise() const noexcept final { return this; }
  [[nodiscard]] virtual double value(double x, std::int64_t i) const = 0;
  /// Derivative; at a corner that of the side an engine's gradient would take (0 for Relu at 0).
  [[nodiscard]] virtual double slope(double x, std::int64_t i) const = 0;
  /// Where the engine's result lies for inputs in `x`, its rounding included.
  [[nodiscard]] virtual Interval hull(Interval x, std::int64_t i) const = 0;
  /// Lines around the engine's result over finite `x`; by default the ends of the hull.
  [[nodiscard]] virtual Lines lines(Interval x, std::int64_t i) const {
    const Interval y = hull(x, i);
    return {.lower_offset = y.lower, .upper_offset = y.upper};
  }
};

/// Each output is the largest (or smallest) of some inputs.
class MaximumFormula : public Formula {
 public:
  [[nodiscard]] const MaximumFormula* maximum() const noexcept final { return this; }
  virtual void row(std::int64_t output, std::vector<Element>& elements) const = 0;
  bool smallest = false;
};

/// Each output is a sum of products of two inputs.
class ProductFormula : public Formula {
 public:
  [[nodiscard]] const ProductFormula* product() const noexcept final { return this; }
  virtual void row(std::int64_t output, std::vector<std::pair<Element, Element>>& pairs) const = 0;
};

/// Where the elements of one input of a formula lie.
struct Ends {
  std::span<const double> lower, upper;
};

/// Anything else: all that is known is where the results lie.
class OpaqueFormula : public Formula {
 public:
  [[nodiscard]] const OpaqueFormula* opaque() const noexcept final { return this; }
  Interval range;
  /// That range, or bound() below, says more than the element type does.
  bool bounded = false;
  /// Bounds of the engine's results for finite inputs in `x`, its rounding included; then no result is NaN.
  /// False when there are none: then `y` is left as it is.
  virtual bool bound(const std::vector<Ends>& /*x*/, std::vector<Interval>& /*y*/) const { return false; }
  /// Adds the gradient of each input; false when there is no rule. `x` and `dx` by input.
  virtual bool pull(const std::vector<std::span<const float>>& /*x*/, std::span<const float> /*y*/,
                    std::span<const double> /*dy*/, const std::vector<std::span<double>>& /*dx*/) const {
    return false;
  }
};

/// One tensor that a run makes from the network's inputs.
struct Variable {
  std::string name;  ///< of the ONNX value; empty for an intermediate of a formula
  Shape shape;
  bool known = true;  ///< false: the shape depends on data, and nothing is known of the elements
  int formula = -1;   ///< that makes it; -1 for an input of the network
  Interval range;     ///< that its element type allows
  [[nodiscard]] std::int64_t size() const { return known ? shape.elements() : 0; }
};

}  // namespace ember::auditing
