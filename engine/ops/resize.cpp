#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "ops/registry.hpp"
#include "ops/resize_geometry.hpp"
#include "ops/typed.hpp"

// Resize and Upsample. Interpolation is separable: axes are resized one after the other.

namespace ember::ops {

namespace {

void check_resize(const NodeContext& c, std::vector<std::string>& reasons) {
  const std::string mode = c.text("mode", "nearest");
  const bool known = mode == "nearest" || mode == "linear" || (mode == "bilinear" && c.op() == "Upsample") ||
                     (mode == "cubic" && c.op() == "Resize" && c.opset() >= 11);
  if (!known) reasons.push_back(fmt::format("mode '{}'", mode));
}

void infer_resize(InferContext& c) {
  const ResizeInputs inputs = resize_inputs(c);
  // An empty tensor stands for "left out" in opset 11, where these inputs were not optional.
  const auto operand = [&](int i) -> const Tensor* {
    if (i < 0 || !c.has_input(i) || c.shape(i).elements() == 0) return nullptr;
    return &c.required_value(i);
  };
  const bool crop = c.text("coordinate_transformation_mode", "") == "tf_crop_and_resize";
  const ResizeGeometry g = resize_geometry(c, c.shape(0),
                                           {.roi = crop ? operand(inputs.roi) : nullptr,
                                            .scales = operand(inputs.scales),
                                            .sizes = operand(inputs.sizes)});
  c.set_output(0, c.type(0), g.output_shape());
}

/// Calls pass(axis index, geometry of the axis) for the axes that change, in order.
template <class Pass>
void for_each_resized_axis(const ResizeGeometry& g, Pass&& pass) {
  for (std::size_t i = 0; i < g.axes.size(); ++i)
    if (!g.axes[i].identity()) pass(static_cast<int>(i), g.axes[i]);
}

/// Sizes around one axis while `done` axes before it have their new extents.
struct Slab {
  std::int64_t outer = 1, inner = 1;
};

Slab slab(const ResizeGeometry& g, int axis) {
  Slab s;
  for (int i = 0; i < static_cast<int>(g.axes.size()); ++i) {
    if (i < axis) s.outer *= g.axes[static_cast<std::size_t>(i)].output;
    if (i > axis) s.inner *= g.axes[static_cast<std::size_t>(i)].input;
  }
  return s;
}

template <class T>
void nearest_axis(const AxisTaps& taps, const ResizeAxis& axis, const Slab& s, T fill, const T* from, T* to) {
  for (std::int64_t o = 0; o < s.outer; ++o) {
    for (std::int64_t j = 0; j < axis.output; ++j, to += s.inner) {
      const T* source = from + (o * axis.input + taps.index[static_cast<std::size_t>(j)]) * s.inner;
      const bool outside = taps.outside[static_cast<std::size_t>(j)];
      for (std::int64_t n = 0; n < s.inner; ++n) to[n] = outside ? fill : source[n];
    }
  }
}

void interpolated_axis(const AxisTaps& taps, const ResizeAxis& axis, const Slab& s, double fill,
                       const double* from, double* to) {
  for (std::int64_t o = 0; o < s.outer; ++o) {
    for (std::int64_t j = 0; j < axis.output; ++j, to += s.inner) {
      for (std::int64_t n = 0; n < s.inner; ++n) {
        double sum = 0.0;
        for (std::int64_t i = j * taps.taps; i < (j + 1) * taps.taps; ++i) {
          const auto at = static_cast<std::size_t>(i);
          sum += taps.weight[at] * from[(o * axis.input + taps.index[at]) * s.inner + n];
        }
        to[n] = taps.outside[static_cast<std::size_t>(j)] ? fill : sum;
      }
    }
  }
}

/// Resizes every axis in turn; `pass` does one of them.
template <class T, class Pass>
std::vector<T> resize_axes(const NodeContext& c, const ResizeGeometry& g, std::vector<T> data, Pass&& pass) {
  for_each_resized_axis(g, [&](int index, const ResizeAxis& axis) {
    const Slab s = slab(g, index);
    // Shape refuses what overflows: an axis that grows may come before one that shrinks.
    std::vector<T> next(static_cast<std::size_t>(Shape{s.outer, axis.output, s.inner}.elements()));
    pass(axis_taps(c, g, axis), axis, s, data.data(), next.data());
    data.swap(next);
  });
  return data;
}

template <class T>
T rounded(double value) {
  if constexpr (std::is_same_v<T, bool>) return value != 0.0;
  else if constexpr (std::is_integral_v<T>) {
    constexpr auto kLow = static_cast<double>(std::numeric_limits<T>::min());
    constexpr auto kHigh = static_cast<double>(std::numeric_limits<T>::max());
    const double whole = std::nearbyint(value);
    if (!(whole > kLow)) return std::numeric_limits<T>::min();
    return whole >= kHigh ? std::numeric_limits<T>::max() : static_cast<T>(whole);
  } else return narrow<T>(static_cast<Wide<T>>(value));
}

void reference_resize(EvalContext& c) {
  const ResizeInputs inputs = resize_inputs(c);
  std::vector<Tensor> held;
  held.reserve(3);
  const auto operand = [&](int i) -> const Tensor* {
    if (i < 0 || !c.has_input(i) || c.input(i).elements() == 0) return nullptr;
    return &held.emplace_back(c.input(i));
  };
  ResizeOperands operands;
  operands.roi = operand(inputs.roi);
  operands.scales = operand(inputs.scales);
  operands.sizes = operand(inputs.sizes);
  const ResizeGeometry g = resize_geometry(c, c.input(0).shape(), operands);
  if (c.output(0).elements() == 0) return;
  dispatch_any(c, c.input(0).type(), [&]<class T>(T) {
    const auto x = c.input(0).data<T>();
    const auto y = c.output(0).data<T>();
    if (g.mode == ResizeMode::Nearest) {
      // A byte stands for bool: vector<bool> has no elements to point at.
      using Stored = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>;
      const auto* first = reinterpret_cast<const Stored*>(x.data());
      const auto fill = rounded<T>(static_cast<double>(g.extrapolation));
      const auto result =
          resize_axes(c, g, std::vector<Stored>(first, first + x.size()),
                      [&](const AxisTaps& taps, const ResizeAxis& axis, const Slab& s, const Stored* from,
                          Stored* to) { nearest_axis(taps, axis, s, static_cast<Stored>(fill), from, to); });
      std::memcpy(y.data(), result.data(), y.size_bytes());
      return;
    }
    std::vector<double> wide(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) wide[i] = static_cast<double>(widen(x[i]));
    const auto result = resize_axes(
        c, g, std::move(wide),
        [&](const AxisTaps& taps, const ResizeAxis& axis, const Slab& s, const double* from, double* to) {
          interpolated_axis(taps, axis, s, static_cast<double>(g.extrapolation), from, to);
        });
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = rounded<T>(result[i]);
  });
}

}  // namespace

void add_resize_operators(OperatorList& list) {
  list.push_back({.name = "Resize",
                  .versions = {10, 11, 13, 18, 19},
                  .check = check_resize,
                  .infer = infer_resize,
                  .reference = reference_resize});
  list.push_back({.name = "Upsample",
                  .versions = {7, 9},
                  .removed_in = 10,
                  .check = check_resize,
                  .infer = infer_resize,
                  .reference = reference_resize});
}

}  // namespace ember::ops
