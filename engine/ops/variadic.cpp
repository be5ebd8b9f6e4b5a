#include <type_traits>
#include <vector>

#include "ops/broadcast_walk.hpp"
#include "ops/integer_math.hpp"
#include "ops/registry.hpp"
#include "ops/type_set.hpp"
#include "ops/typed.hpp"

// Min, Max, Sum and Mean of any number of inputs, broadcast together.

namespace ember::ops {

namespace {

template <TypeSet kTypes>
void infer_variadic(InferContext& c) {
  c.require(c.input_count() >= 1, "at least one input is needed");
  require_type(c, 0, kTypes);
  Shape shape = c.shape(0);
  for (int i = 1; i < c.input_count(); ++i) {
    require_same_type(c, 0, i);
    shape = broadcast(c, shape, c.shape(i));
  }
  c.set_output(0, c.type(0), shape);
}

/// NaN wins, as in NumPy.
template <bool kMax>
struct Extreme {
  template <class W>
  static W apply(W best, W x) {
    return (kMax ? x > best : x < best) || x != x ? x : best;
  }
};

struct Total {
  template <class W>
  static W apply(W sum, W x) {
    if constexpr (std::is_integral_v<W>) return wrapping_add(sum, x);
    else return sum + x;
  }
};

template <class Function, bool kMean = false>
void reference_variadic(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const auto y = c.output(0).data<T>();
    std::vector<Wide<T>> accumulated(y.size());
    for (int i = 0; i < c.input_count(); ++i) {
      const auto x = c.input(i).data<T>();
      BroadcastWalk walk(c.output(0).shape(), {c.input(i).shape()});
      for (Wide<T>& value : accumulated) {
        const Wide<T> element = widen(x[static_cast<std::size_t>(walk.offset(0))]);
        value = i == 0 ? element : Function::apply(value, element);
        walk.next();
      }
    }
    for (std::size_t k = 0; k < y.size(); ++k) {
      if constexpr (kMean)
        y[k] = narrow<T>(static_cast<Wide<T>>(accumulated[k] / static_cast<Wide<T>>(c.input_count())));
      else y[k] = narrow<T>(accumulated[k]);
    }
  });
}

}  // namespace

void add_variadic_operators(OperatorList& list) {
  list.push_back({.name = "Min",
                  .versions = {6, 8, 12, 13},
                  .infer = infer_variadic<TypeSet::Numeric>,
                  .reference = reference_variadic<Extreme<false>>});
  list.push_back({.name = "Max",
                  .versions = {6, 8, 12, 13},
                  .infer = infer_variadic<TypeSet::Numeric>,
                  .reference = reference_variadic<Extreme<true>>});
  list.push_back({.name = "Sum",
                  .versions = {6, 8, 13},
                  .infer = infer_variadic<TypeSet::Floating>,
                  .reference = reference_variadic<Total>,
                  .fuses = {.activation = true}});
  list.push_back({.name = "Mean",
                  .versions = {6, 8, 13},
                  .infer = infer_variadic<TypeSet::Floating>,
                  .reference = reference_variadic<Total, true>});
}

}  // namespace ember::ops
