#include <cmath>
#include <type_traits>
#include <vector>

#include "ops/broadcast_walk.hpp"
#include "ops/integer_math.hpp"
#include "ops/registry.hpp"
#include "ops/type_set.hpp"
#include "ops/typed.hpp"

// Pow: base and exponent broadcast together, the result has the base's type.

namespace ember::ops {

namespace {

void infer_pow(InferContext& c) {
  require_type(c, 0, TypeSet::Numeric);
  require_type(c, 1, TypeSet::Numeric);
  if (c.opset() < 12) require_same_type(c, 0, 1);
  c.set_output(0, c.type(0), broadcast(c, c.shape(0), c.shape(1)));
}

/// An exponent as a real number, and as an integer if it is of an integer type.
struct Exponent {
  double real = 0;
  bool integral = false;
  bool negative = false;
  std::uint64_t magnitude = 0;
};

std::vector<Exponent> exponents(const NodeContext& node, const ConstTensorView& view) {
  std::vector<Exponent> all(static_cast<std::size_t>(view.elements()));
  dispatch_numeric(node, view.type(), [&](auto zero) {
    using T = decltype(zero);
    const auto values = view.data<T>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      all[i].real = static_cast<double>(widen(values[i]));
      if constexpr (std::is_integral_v<T>) {
        all[i].integral = true;
        all[i].negative = values[i] < 0;
        const auto wide = static_cast<std::uint64_t>(values[i]);
        all[i].magnitude = all[i].negative ? 0 - wide : wide;
      }
    }
  });
  return all;
}

template <class T>
T integer_power(const NodeContext& node, T base, const Exponent& exponent) {
  if (!exponent.integral) return saturate_from<T>(std::pow(static_cast<double>(base), exponent.real));
  if (exponent.negative) {
    // 1/base^n, truncated: only 1 and -1 leave anything.
    if (base == T{0}) node.fail(ErrorCode::InvalidData, "zero to a negative power");
    if (base == T{1}) return base;
    if constexpr (std::is_signed_v<T>) {
      if (base == T{-1}) return exponent.magnitude % 2 == 0 ? T{1} : base;
    }
    return T{0};
  }
  T result{1};
  for (std::uint64_t left = exponent.magnitude; left != 0; left >>= 1U) {
    if ((left & 1U) != 0) result = wrapping_mul(result, base);
    base = wrapping_mul(base, base);
  }
  return result;
}

void reference_pow(EvalContext& c) {
  const std::vector<Exponent> powers = exponents(c, c.input(1));
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const auto base = c.input(0).data<T>();
    BroadcastWalk walk(c.output(0).shape(), {c.input(0).shape(), c.input(1).shape()});
    for (T& y : c.output(0).data<T>()) {
      const T x = base[static_cast<std::size_t>(walk.offset(0))];
      const Exponent& power = powers[static_cast<std::size_t>(walk.offset(1))];
      if constexpr (std::is_integral_v<T>) y = integer_power(c, x, power);
      else y = narrow<T>(std::pow(widen(x), power.real));
      walk.next();
    }
  });
}

}  // namespace

void add_pow_operator(OperatorList& list) {
  list.push_back(
      {.name = "Pow", .versions = {7, 12, 13, 15}, .infer = infer_pow, .reference = reference_pow});
}

}  // namespace ember::ops
