#include <cmath>
#include <cstdint>
#include <type_traits>

#include "ops/integer_math.hpp"
#include "ops/registry.hpp"
#include "ops/type_set.hpp"
#include "ops/typed.hpp"

// Element-wise operators of one input, activations excepted.

namespace ember::ops {

namespace {

template <TypeSet kTypes, bool kToBool = false>
void infer_unary(InferContext& c) {
  require_type(c, 0, kTypes);
  c.set_output(0, kToBool ? DataType::Bool : c.type(0), c.shape(0));
}

/// f on every element, computed in double for floats; integers (Erf only) saturate.
template <double (*kFunction)(double)>
void reference_real(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const auto x = c.input(0).data<T>();
    const auto y = c.output(0).data<T>();
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double value = kFunction(static_cast<double>(widen(x[i])));
      if constexpr (std::is_integral_v<T>) y[i] = saturate_from<T>(value);
      else y[i] = narrow<T>(value);
    }
  });
}

struct Neg {
  template <class W>
  static W apply(W x) {
    if constexpr (std::is_integral_v<W>) return wrapping_sub(W{0}, x);
    else return -x;
  }
};
struct Abs {
  template <class W>
  static W apply(W x) {
    if constexpr (std::is_integral_v<W>) return x < 0 ? wrapping_sub(W{0}, x) : x;
    else return std::abs(x);
  }
};
struct Sign {
  template <class W>
  static W apply(W x) {
    if (x != x) return x;
    return static_cast<W>(static_cast<int>(x > W{0}) - static_cast<int>(x < W{0}));
  }
};

template <class Function>
void reference_numeric(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const auto x = c.input(0).data<T>();
    const auto y = c.output(0).data<T>();
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = narrow<T>(Function::apply(widen(x[i])));
  });
}

void reference_not(EvalContext& c) {
  const auto x = c.input(0).data<bool>();
  const auto y = c.output(0).data<bool>();
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = !x[i];
}

void reference_bitwise_not(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T>) {
      const auto x = c.input(0).data<T>();
      const auto y = c.output(0).data<T>();
      for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<T>(~x[i]);
    }
  });
}

template <class Predicate>
void classify(EvalContext& c, Predicate&& holds) {
  dispatch_floating(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const auto x = c.input(0).data<T>();
    const auto y = c.output(0).data<bool>();
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = holds(widen(x[i]));
  });
}

void reference_is_nan(EvalContext& c) {
  classify(c, [](double x) { return std::isnan(x); });
}

void reference_is_inf(EvalContext& c) {
  const bool negative = c.integer("detect_negative", 1) != 0;
  const bool positive = c.integer("detect_positive", 1) != 0;
  classify(c, [=](double x) { return std::isinf(x) && (x < 0 ? negative : positive); });
}

double reciprocal(double x) { return 1.0 / x; }
/// The default rounding mode is half to even.
double round_half_even(double x) { return std::nearbyint(x); }

}  // namespace

void add_unary_operators(OperatorList& list) {
  const auto add = [&](std::string_view name, std::vector<int> versions, void (*reference)(EvalContext&),
                       void (*infer)(InferContext&) = infer_unary<TypeSet::Floating>) {
    list.push_back({.name = name, .versions = std::move(versions), .infer = infer, .reference = reference});
  };
  add("Neg", {6, 13}, reference_numeric<Neg>, infer_unary<TypeSet::Signed>);
  add("Abs", {6, 13}, reference_numeric<Abs>, infer_unary<TypeSet::Numeric>);
  add("Sign", {9, 13}, reference_numeric<Sign>, infer_unary<TypeSet::Numeric>);
  add("Sqrt", {6, 13}, reference_real<std::sqrt>);
  add("Exp", {6, 13}, reference_real<std::exp>);
  add("Log", {6, 13}, reference_real<std::log>);
  add("Floor", {6, 13}, reference_real<std::floor>);
  add("Ceil", {6, 13}, reference_real<std::ceil>);
  add("Round", {11, 22}, reference_real<round_half_even>);
  add("Reciprocal", {6, 13}, reference_real<reciprocal>);
  add("Sin", {7, 22}, reference_real<std::sin>);
  add("Cos", {7, 22}, reference_real<std::cos>);
  add("Tan", {7, 22}, reference_real<std::tan>);
  add("Asin", {7, 22}, reference_real<std::asin>);
  add("Acos", {7, 22}, reference_real<std::acos>);
  add("Atan", {7, 22}, reference_real<std::atan>);
  add("Sinh", {9, 22}, reference_real<std::sinh>);
  add("Cosh", {9, 22}, reference_real<std::cosh>);
  add("Asinh", {9, 22}, reference_real<std::asinh>);
  add("Acosh", {9, 22}, reference_real<std::acosh>);
  add("Atanh", {9, 22}, reference_real<std::atanh>);
  add("Erf", {9, 13}, reference_real<std::erf>, infer_unary<TypeSet::Numeric>);
  add("Not", {1}, reference_not, infer_unary<TypeSet::Bool>);
  add("BitwiseNot", {18}, reference_bitwise_not, infer_unary<TypeSet::Integer>);
  add("IsNaN", {9, 13, 20}, reference_is_nan, infer_unary<TypeSet::Floating, true>);
  add("IsInf", {10, 20}, reference_is_inf, infer_unary<TypeSet::Floating, true>);
}

}  // namespace ember::ops
