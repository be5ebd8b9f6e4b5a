#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "ops/movement.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// ScatterElements, its first form Scatter, and ScatterND: a copy of the data with updates written, or
// combined, at indexed places.

namespace ember::ops {

namespace {

enum class Reduction { None, Add, Mul, Max, Min };

std::optional<Reduction> reduction_named(const std::string& name) {
  if (name == "none") return Reduction::None;
  if (name == "add") return Reduction::Add;
  if (name == "mul") return Reduction::Mul;
  if (name == "max") return Reduction::Max;
  if (name == "min") return Reduction::Min;
  return std::nullopt;
}

Reduction reduction_of(const NodeContext& c) {
  const auto found = reduction_named(c.text("reduction", "none"));
  c.require(found.has_value(), fmt::format("reduction '{}'", c.text("reduction", "none")));
  return *found;
}

void check_scatter(const NodeContext& c, std::vector<std::string>& reasons) {
  const std::string name = c.text("reduction", "none");
  if (!reduction_named(name)) reasons.push_back(fmt::format("reduction '{}'", name));
}

template <class T>
T combine(Reduction reduction, T held, T update) {
  if constexpr (std::is_same_v<T, bool>) {
    const bool either = reduction == Reduction::Add || reduction == Reduction::Max;
    return either ? (held || update) : (held && update);
  } else {
    const auto a = widen(held);
    const auto b = widen(update);
    if constexpr (std::is_floating_point_v<Wide<T>>) {
      if (std::isnan(a) || std::isnan(b)) return narrow<T>(a + b);
    }
    switch (reduction) {
      case Reduction::Max: return narrow<T>(std::max(a, b));
      case Reduction::Min: return narrow<T>(std::min(a, b));
      default: break;
    }
    if constexpr (std::is_integral_v<Wide<T>>) {  // wraps around, as unsigned numbers may
      const auto x = static_cast<std::uint64_t>(a);
      const auto y = static_cast<std::uint64_t>(b);
      return static_cast<T>(reduction == Reduction::Add ? x + y : x * y);
    } else {
      return narrow<T>(reduction == Reduction::Add ? a + b : a * b);
    }
  }
}

/// Calls write(data position, update position) for every update; `visit` generates them.
template <class Visit>
void apply_updates(EvalContext& c, Visit&& visit) {
  const Reduction reduction = reduction_of(c);
  const ConstTensorView& updates = c.input(2);
  const TensorView& to = c.output(0);
  copy_elements(c.input(0), to);
  if (reduction == Reduction::None) {
    dispatch_by_size(size_of(to.type()), [&](auto zero) {
      using Word = decltype(zero);
      visit([&](std::int64_t at, std::int64_t from) { words<Word>(to)[at] = words<Word>(updates)[from]; });
    });
    return;
  }
  dispatch_any(c, to.type(), [&](auto zero) {
    using T = decltype(zero);
    const auto data = to.data<T>();
    const auto values = updates.data<T>();
    visit([&](std::int64_t at, std::int64_t from) {
      T& held = data[static_cast<std::size_t>(at)];
      held = combine<T>(reduction, held, values[static_cast<std::size_t>(from)]);
    });
  });
}

void infer_scatter_elements(InferContext& c) {
  const Shape& data = c.shape(0);
  const Shape& indices = c.shape(1);
  const int axis = normalize_axis(c, c.integer("axis", 0), data.rank());
  c.require(c.type(2) == c.type(0), "data and updates differ in type");
  c.require(indices == c.shape(2), "indices and updates differ in shape");
  c.require(indices.rank() == data.rank(), "data and indices differ in rank");
  for (int i = 0; i < data.rank(); ++i) {
    c.require(i == axis || indices[i] <= data[i],
              fmt::format("indices {} reach beyond data {}", to_string(indices), to_string(data)));
  }
  c.set_output(0, c.type(0), data);
}

void reference_scatter_elements(EvalContext& c) {
  const Shape& data = c.input(0).shape();
  const int axis = normalize_axis(c, c.integer("axis", 0), data.rank());
  const std::vector<std::int64_t> picks = c.integers_of(1);
  const PerAxis strides = dense_strides(data);
  apply_updates(c, [&](auto&& write) {
    for_each_index(c.input(1).shape(), [&](std::int64_t position, PerAxis index) {
      index[static_cast<std::size_t>(axis)] =
          wrapped_index(c, picks[static_cast<std::size_t>(position)], data[axis]);
      std::int64_t at = 0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(data.rank()); ++i) at += index[i] * strides[i];
      write(at, position);
    });
  });
}

/// Numbers per index tuple, checked against both shapes.
int tuple_depth(const NodeContext& c, const Shape& data, const Shape& indices) {
  c.require(data.rank() >= 1 && indices.rank() >= 1, "data and indices need rank 1 at least");
  const std::int64_t depth = indices[indices.rank() - 1];
  c.require(depth <= data.rank(), fmt::format("index tuples of {} numbers into {}", depth, to_string(data)));
  return static_cast<int>(depth);
}

void infer_scatter_nd(InferContext& c) {
  const Shape& data = c.shape(0);
  const Shape& indices = c.shape(1);
  const int depth = tuple_depth(c, data, indices);
  std::vector<std::int64_t> expected(indices.begin(), indices.end() - 1);
  expected.insert(expected.end(), data.begin() + depth, data.end());
  c.require(c.type(2) == c.type(0), "data and updates differ in type");
  c.require(c.shape(2) == Shape(expected),
            fmt::format("updates have shape {}, not {}", to_string(c.shape(2)), to_string(Shape(expected))));
  c.set_output(0, c.type(0), data);
}

void reference_scatter_nd(EvalContext& c) {
  const Shape& data = c.input(0).shape();
  const Shape& indices = c.input(1).shape();
  const int depth = tuple_depth(c, data, indices);
  const std::vector<std::int64_t> tuples = c.integers_of(1);
  const PerAxis strides = dense_strides(data);
  const std::int64_t run = data.elements(depth, data.rank());
  const std::int64_t count = indices.elements(0, indices.rank() - 1);
  apply_updates(c, [&](auto&& write) {
    for (std::int64_t i = 0; i < count; ++i) {
      std::int64_t at = 0;
      for (int axis = 0; axis < depth; ++axis) {
        const std::int64_t pick = tuples[static_cast<std::size_t>(i * depth + axis)];
        at += wrapped_index(c, pick, data[axis]) * strides[static_cast<std::size_t>(axis)];
      }
      for (std::int64_t k = 0; k < run; ++k) write(at + k, i * run + k);
    }
  });
}

}  // namespace

void add_scatter_operators(OperatorList& list) {
  list.push_back({.name = "Scatter",
                  .versions = {9},
                  .removed_in = 11,
                  .infer = infer_scatter_elements,
                  .reference = reference_scatter_elements,
                  .flops = no_flops});
  list.push_back({.name = "ScatterElements",
                  .versions = {11, 13, 16, 18},
                  .check = check_scatter,
                  .infer = infer_scatter_elements,
                  .reference = reference_scatter_elements,
                  .flops = no_flops});
  list.push_back({.name = "ScatterND",
                  .versions = {11, 13, 16, 18},
                  .check = check_scatter,
                  .infer = infer_scatter_nd,
                  .reference = reference_scatter_nd,
                  .flops = no_flops});
}

}  // namespace ember::ops
