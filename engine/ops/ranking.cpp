#include <algorithm>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "ops/axes.hpp"
#include "ops/registry.hpp"
#include "ops/type_set.hpp"
#include "ops/typed.hpp"

// ArgMax, ArgMin and TopK: indices of the largest or smallest elements along one axis.

namespace ember::ops {

namespace {

/// A tensor seen as [outer][length][inner] around one axis.
struct Lines {
  std::int64_t outer, length, inner;
  Lines(const Shape& shape, int axis)
      : outer(shape.elements(0, axis)), length(shape[axis]), inner(shape.elements(axis + 1, shape.rank())) {}
};

// ---- ArgMax, ArgMin

void infer_arg(InferContext& c) {
  require_type(c, 0, TypeSet::Numeric);
  const int axis = normalize_axis(c, c.integer("axis", 0), c.shape(0).rank());
  c.require(c.shape(0)[axis] > 0, "there is no extreme element along an empty axis");
  AxisSet axes{};
  axes[static_cast<std::size_t>(axis)] = true;
  c.set_output(0, DataType::Int64, reduced_shape(c.shape(0), axes, c.integer("keepdims", 1) != 0));
}

/// NaN is the most extreme element, as in NumPy. Among equals the first counts, or the last on demand.
template <bool kMax>
void reference_arg(EvalContext& c) {
  const Lines lines(c.input(0).shape(), normalize_axis(c, c.integer("axis", 0), c.input(0).shape().rank()));
  const bool last = c.integer("select_last_index", 0) != 0;
  const auto y = c.output(0).data<std::int64_t>();
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const T* x = c.input(0).data<T>().data();
    const auto better = [&](Wide<T> a, Wide<T> b) {
      if (b != b) return last && a != a;
      if (a != a) return true;
      return (kMax ? a > b : a < b) || (last && a == b);
    };
    for (std::int64_t o = 0; o < lines.outer; ++o) {
      for (std::int64_t i = 0; i < lines.inner; ++i) {
        const T* line = x + o * lines.length * lines.inner + i;
        std::int64_t best = 0;
        for (std::int64_t k = 1; k < lines.length; ++k)
          if (better(widen(line[k * lines.inner]), widen(line[best * lines.inner]))) best = k;
        y[static_cast<std::size_t>(o * lines.inner + i)] = best;
      }
    }
  });
}

// ---- TopK

std::int64_t single(const NodeContext& c, const std::vector<std::int64_t>& k) {
  c.require(k.size() == 1, "K must be one number");
  return k[0];
}

void infer_top_k(InferContext& c) {
  require_type(c, 0, TypeSet::Numeric);
  const Shape& shape = c.shape(0);
  c.require(shape.rank() >= 1, "TopK of a scalar");
  const int axis = normalize_axis(c, c.integer("axis", -1), shape.rank());
  if (c.opset() < 10) c.require(c.has("k"), "attribute 'k' is missing");
  const std::int64_t k = c.opset() < 10 ? c.integer("k", 0) : single(c, c.required_integers(1));
  c.require(k >= 0 && k <= shape[axis],
            fmt::format("K is {}, but axis {} has {} elements", k, axis, shape[axis]));
  c.set_output(0, c.type(0), shape.with(axis, k));
  c.set_output(1, DataType::Int64, shape.with(axis, k));
}

/// Largest (or smallest) first, lower index first among equals; NaN counts as larger than all numbers.
/// `sorted` = 0 leaves the order open, so the sorted one serves as well.
void reference_top_k(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const int axis = normalize_axis(c, c.integer("axis", -1), shape.rank());
  const Lines lines(shape, axis);
  const bool largest = c.integer("largest", 1) != 0;
  const std::int64_t k = (c.has_output(0) ? c.output(0) : c.output(1)).shape()[axis];
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const T* x = c.input(0).data<T>().data();
    T* values = c.has_output(0) ? c.output(0).data<T>().data() : nullptr;
    std::int64_t* indices = c.has_output(1) ? c.output(1).data<std::int64_t>().data() : nullptr;
    std::vector<std::int64_t> order(static_cast<std::size_t>(lines.length));
    for (std::int64_t o = 0; o < lines.outer; ++o) {
      for (std::int64_t i = 0; i < lines.inner; ++i) {
        const T* line = x + o * lines.length * lines.inner + i;
        std::iota(order.begin(), order.end(), std::int64_t{0});
        const auto above = [](Wide<T> a, Wide<T> b) { return a != a ? b == b : a > b; };
        const auto before = [&](std::int64_t p, std::int64_t q) {
          const Wide<T> a = widen(line[p * lines.inner]);
          const Wide<T> b = widen(line[q * lines.inner]);
          if (above(a, b)) return largest;
          if (above(b, a)) return !largest;
          return p < q;
        };
        std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
        for (std::int64_t r = 0; r < k; ++r) {
          const std::int64_t to = (o * k + r) * lines.inner + i;
          const std::int64_t from = order[static_cast<std::size_t>(r)];
          if (values != nullptr) values[to] = line[from * lines.inner];
          if (indices != nullptr) indices[to] = from;
        }
      }
    }
  });
}

}  // namespace

void add_ranking_operators(OperatorList& list) {
  list.push_back(
      {.name = "ArgMax", .versions = {1, 11, 12, 13}, .infer = infer_arg, .reference = reference_arg<true>});
  list.push_back(
      {.name = "ArgMin", .versions = {1, 11, 12, 13}, .infer = infer_arg, .reference = reference_arg<false>});
  list.push_back(
      {.name = "TopK", .versions = {1, 10, 11, 24}, .infer = infer_top_k, .reference = reference_top_k});
}

}  // namespace ember::ops
