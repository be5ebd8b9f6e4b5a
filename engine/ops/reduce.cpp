#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "ops/axes.hpp"
#include "ops/broadcast_walk.hpp"
#include "ops/integer_math.hpp"
#include "ops/registry.hpp"
#include "ops/type_set.hpp"
#include "ops/typed.hpp"

// Reduce*: one accumulator per output element, walked over in the order of the input.

namespace ember::ops {

namespace {

bool keeps_dims(const NodeContext& c) { return c.integer("keepdims", 1) != 0; }

template <TypeSet kTypes>
void infer_reduce(InferContext& c) {
  if (kTypes != TypeSet::Any || c.opset() < 20) require_type(c, 0, TypeSet::Numeric);
  const bool from_input = reduction_axes_are_input(c);
  std::vector<std::int64_t> given = from_input ? std::vector<std::int64_t>() : c.integers("axes");
  if (from_input && c.has_input(1)) given = c.required_integers(1);
  const AxisSet axes = reduction_axes(c, c.shape(0).rank(), from_input, given);
  c.set_output(0, c.type(0), reduced_shape(c.shape(0), axes, keeps_dims(c)));
}

/// Since opset 28 logarithms of integers are no longer defined.
void infer_log_reduce(InferContext& c) {
  if (c.opset() >= 28) require_type(c, 0, TypeSet::Floating);
  infer_reduce<TypeSet::Numeric>(c);
}

/// The output's shape with reduced axes kept as 1, and how many elements each output element is made of.
struct Plan {
  Shape kept;
  std::int64_t count = 1;
};

Plan plan_of(const EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const bool from_input = reduction_axes_are_input(c);
  std::vector<std::int64_t> given = from_input ? std::vector<std::int64_t>() : c.integers("axes");
  if (from_input && c.has_input(1)) given = c.integers_of(1);
  const AxisSet axes = reduction_axes(c, shape.rank(), from_input, given);
  Plan plan{.kept = reduced_shape(shape, axes, true)};
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (axes[static_cast<std::size_t>(axis)]) plan.count *= shape[axis];
  return plan;
}

/// accumulated[o] = f(accumulated[o], x) for every input element x of output element o.
template <class T, class A, class F>
std::vector<A> accumulate(const EvalContext& c, const Plan& plan, A start, F&& f) {
  std::vector<A> accumulated(static_cast<std::size_t>(plan.kept.elements()), start);
  BroadcastWalk walk(c.input(0).shape(), {plan.kept});
  for (const T x : c.input(0).data<T>()) {
    A& value = accumulated[static_cast<std::size_t>(walk.offset(0))];
    value = f(value, widen(x));
    walk.next();
  }
  return accumulated;
}

template <class T, class A>
void store(const EvalContext& c, const std::vector<A>& results) {
  const auto y = c.output(0).data<T>();
  for (std::size_t i = 0; i < y.size(); ++i) {
    if constexpr (std::is_same_v<A, double> && std::is_integral_v<T>) y[i] = saturate_from<T>(results[i]);
    else y[i] = narrow<T>(static_cast<Wide<T>>(results[i]));
  }
}

/// Integers are summed in 64 bits, so that only the result can wrap.
template <class T>
using Accumulator = std::conditional_t<std::is_integral_v<T>, std::int64_t, double>;

template <class A>
A plus(A a, A b) {
  if constexpr (std::is_integral_v<A>) return wrapping_add(a, b);
  else return a + b;
}
template <class A>
A times(A a, A b) {
  if constexpr (std::is_integral_v<A>) return wrapping_mul(a, b);
  else return a * b;
}
template <class A>
A magnitude(A a) {
  if constexpr (std::is_integral_v<A>) return a < 0 ? wrapping_sub(A{0}, a) : a;
  else return std::abs(a);
}

struct SumOf {
  template <class A>
  static A apply(A sum, A x) {
    return plus(sum, x);
  }
};
struct SumOfMagnitudes {
  template <class A>
  static A apply(A sum, A x) {
    return plus(sum, magnitude(x));
  }
};
struct SumOfSquares {
  template <class A>
  static A apply(A sum, A x) {
    return plus(sum, times(x, x));
  }
};
struct Product {
  template <class A>
  static A apply(A product, A x) {
    return times(product, x);
  }
};

template <class Function, int kStart>
void reference_fold(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    store<T>(c, accumulate<T>(c, plan_of(c), A{kStart},
                              [](A value, Wide<T> x) { return Function::apply(value, static_cast<A>(x)); }));
  });
}

void reference_mean(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const Plan plan = plan_of(c);
    if (std::is_integral_v<T> && plan.count == 0 && plan.kept.elements() != 0)
      c.fail(ErrorCode::InvalidData, "the mean of no integers");
    std::vector<A> sums = accumulate<T>(
        c, plan, A{0}, [](A value, Wide<T> x) { return SumOf::apply(value, static_cast<A>(x)); });
    for (A& sum : sums) sum /= static_cast<A>(plan.count);
    store<T>(c, sums);
  });
}

/// post(sum of Function) in double for every type.
template <class Function, double (*kPost)(double)>
void reference_real(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    std::vector<double> sums = accumulate<T>(c, plan_of(c), 0.0, [](double value, Wide<T> x) {
      return Function::apply(value, static_cast<double>(x));
    });
    for (double& sum : sums) sum = kPost(sum);
    store<T>(c, sums);
  });
}

/// log(sum(exp(x))), shifted by the largest element so that nothing overflows.
void reference_log_sum_exp(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const Plan plan = plan_of(c);
    constexpr double kLowest = -std::numeric_limits<double>::infinity();
    std::vector<double> shift = accumulate<T>(c, plan, kLowest, [](double value, Wide<T> x) {
      return static_cast<double>(x) > value ? static_cast<double>(x) : value;
    });
    for (double& s : shift)
      if (std::isinf(s)) s = 0;
    std::vector<double> sums(shift.size());
    BroadcastWalk walk(c.input(0).shape(), {plan.kept});
    for (const T x : c.input(0).data<T>()) {
      const auto o = static_cast<std::size_t>(walk.offset(0));
      sums[o] += std::exp(static_cast<double>(widen(x)) - shift[o]);
      walk.next();
    }
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = std::log(sums[i]) + shift[i];
    store<T>(c, sums);
  });
}

/// NaN wins, as in NumPy. The extreme of nothing is the far end of the type.
template <bool kMax>
void reference_extreme(EvalContext& c) {
  dispatch_any(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    using W = Wide<T>;
    using Limits = std::numeric_limits<W>;
    W start = kMax ? Limits::lowest() : Limits::max();
    if constexpr (Limits::has_infinity) start = kMax ? -Limits::infinity() : Limits::infinity();
    const Plan plan = plan_of(c);
    // Not std::vector<bool>, whose elements cannot be referred to.
    using A = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, W>;
    store<T>(c, accumulate<T>(c, plan, static_cast<A>(start), [](A best, W x) {
               return static_cast<A>((kMax ? x > static_cast<W>(best) : x < static_cast<W>(best)) || x != x
                                         ? static_cast<A>(x)
                                         : best);
             }));
  });
}

double flops_reduce(const NodeContext& /*node*/, std::span<const Shape> inputs,
                    std::span<const Shape> /*outputs*/) {
  return static_cast<double>(inputs[0].elements());
}

}  // namespace

void add_reduce_operators(OperatorList& list) {
  const auto add = [&](std::string_view name, std::vector<int> versions, void (*reference)(EvalContext&),
                       void (*infer)(InferContext&) = infer_reduce<TypeSet::Numeric>) {
    list.push_back({.name = name,
                    .versions = std::move(versions),
                    .infer = infer,
                    .reference = reference,
                    .flops = flops_reduce});
  };
  add("ReduceSum", {1, 11, 13}, reference_fold<SumOf, 0>);
  add("ReduceMean", {1, 11, 13, 18}, reference_mean);
  add("ReduceMax", {1, 11, 12, 13, 18, 20}, reference_extreme<true>, infer_reduce<TypeSet::Any>);
  add("ReduceMin", {1, 11, 12, 13, 18, 20}, reference_extreme<false>, infer_reduce<TypeSet::Any>);
  add("ReduceProd", {1, 11, 13, 18}, reference_fold<Product, 1>);
  add("ReduceL1", {1, 11, 13, 18}, reference_fold<SumOfMagnitudes, 0>);
  add("ReduceL2", {1, 11, 13, 18}, reference_real<SumOfSquares, std::sqrt>);
  add("ReduceLogSum", {1, 11, 13, 18, 28}, reference_real<SumOf, std::log>, infer_log_reduce);
  add("ReduceLogSumExp", {1, 11, 13, 18, 28}, reference_log_sum_exp, infer_log_reduce);
  add("ReduceSumSquare", {1, 11, 13, 18}, reference_fold<SumOfSquares, 0>);
}

}  // namespace ember::ops
