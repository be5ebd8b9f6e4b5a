#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <fmt/format.h>

#include "ops/pool_geometry.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// MaxPool, AveragePool, LpPool and their global forms.

namespace ember::ops {

namespace {

void infer_pool(InferContext& c) {
  const Windows windows = pool_geometry(c, c.shape(0));
  std::vector<std::int64_t> dims = {c.shape(0)[0], c.shape(0)[1]};
  for (int i = kSpatialAxes - windows.rank; i < kSpatialAxes; ++i)
    dims.push_back(windows.axes[static_cast<std::size_t>(i)].output);
  c.set_output(0, c.type(0), Shape(dims));
  c.set_output(1, DataType::Int64, Shape(dims));
}

void infer_global(InferContext& c) {
  c.require(c.shape(0).rank() >= 2, fmt::format("an input of shape {}", to_string(c.shape(0))));
  Shape shape = c.shape(0);
  for (int axis = 2; axis < shape.rank(); ++axis) shape = shape.with(axis, 1);
  c.set_output(0, c.type(0), shape);
}

double flops_pool(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape> outputs) {
  return static_cast<double>(outputs[0].elements()) *
         static_cast<double>(pool_geometry(node, inputs[0]).taps());
}

double flops_global(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape> outputs) {
  (void)node;
  (void)outputs;
  return static_cast<double>(inputs[0].elements());
}

/// Calls pool(plane) for every channel of every sample.
template <class Pool>
void for_each_plane(const Shape& x, Pool&& pool) {
  for (std::int64_t plane = 0; plane < x[0] * x[1]; ++plane) pool(plane);
}

template <class T>
constexpr T lowest() {
  if constexpr (std::numeric_limits<T>::has_infinity) return -std::numeric_limits<T>::infinity();
  else return std::numeric_limits<T>::lowest();
}

/// The index that MaxPool reports for position p of a plane.
std::int64_t reported_index(const Windows& windows, std::int64_t p, bool column_major) {
  if (!column_major) return p;
  const auto& [depth, height, width] = windows.axes;
  const std::int64_t w = p % width.input;
  const std::int64_t h = p / width.input % height.input;
  const std::int64_t d = p / width.input / height.input;
  return d + depth.input * (h + height.input * w);
}

void reference_max_pool(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const Windows windows = pool_geometry(c, shape);
  const bool column_major = c.integer("storage_order", 0) != 0;
  std::int64_t* indices = c.has_output(1) ? c.output(1).data<std::int64_t>().data() : nullptr;
  dispatch_numeric(c, c.input(0).type(), [&]<class T>(T) {
    const T* x = c.input(0).data<T>().data();
    T* y = c.output(0).data<T>().data();
    for_each_plane(shape, [&](std::int64_t plane) {
      const T* in = x + plane * windows.inputs();
      for_each_output(windows, [&](const Position& position, std::int64_t) {
        Wide<T> best = lowest<Wide<T>>();
        std::int64_t where = -1;
        for_each_tap(windows, position, [&](std::int64_t i, std::int64_t) {
          if (where < 0 || widen(in[i]) > best) {
            best = widen(in[i]) > best ? widen(in[i]) : best;
            where = i;
          }
        });
        *y++ = narrow<T>(best);
        if (indices != nullptr)
          *indices++ =
              plane * windows.inputs() + (where < 0 ? 0 : reported_index(windows, where, column_major));
      });
    });
  });
}

void reference_average_pool(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const Windows windows = pool_geometry(c, shape);
  const bool include_padding = c.integer("count_include_pad", 0) != 0;
  dispatch_floating(c, c.input(0).type(), [&]<class T>(T) {
    const T* x = c.input(0).data<T>().data();
    T* y = c.output(0).data<T>().data();
    for_each_plane(shape, [&](std::int64_t plane) {
      const T* in = x + plane * windows.inputs();
      for_each_output(windows, [&](const Position& position, std::int64_t) {
        Wide<T> sum{};
        for_each_tap(windows, position, [&](std::int64_t i, std::int64_t) { sum += widen(in[i]); });
        std::int64_t count = 1;
        for (std::size_t axis = 0; axis < windows.axes.size(); ++axis)
          count *= averaged_taps(windows.axes[axis], position[axis], include_padding);
        *y++ = narrow<T>(count == 0 ? Wide<T>{} : sum / static_cast<Wide<T>>(count));
      });
    });
  });
}

template <class T>
Wide<T> to_power(T x, std::int64_t p) {
  return std::pow(std::abs(widen(x)), static_cast<Wide<T>>(p));
}

void reference_lp_pool(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const Windows windows = pool_geometry(c, shape);
  const std::int64_t p = c.integer("p", 2);
  dispatch_floating(c, c.input(0).type(), [&]<class T>(T) {
    const T* x = c.input(0).data<T>().data();
    T* y = c.output(0).data<T>().data();
    for_each_plane(shape, [&](std::int64_t plane) {
      const T* in = x + plane * windows.inputs();
      for_each_output(windows, [&](const Position& position, std::int64_t) {
        Wide<T> sum{};
        for_each_tap(windows, position, [&](std::int64_t i, std::int64_t) { sum += to_power(in[i], p); });
        *y++ = narrow<T>(std::pow(sum, Wide<T>{1} / static_cast<Wide<T>>(p)));
      });
    });
  });
}

enum class Global { Average, Max, Lp };

template <Global kKind>
void reference_global(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const std::int64_t positions = shape.elements(2, shape.rank());
  const std::int64_t p = c.integer("p", 2);
  dispatch_floating(c, c.input(0).type(), [&]<class T>(T) {
    const T* x = c.input(0).data<T>().data();
    T* y = c.output(0).data<T>().data();
    for_each_plane(shape, [&](std::int64_t plane) {
      const T* in = x + plane * positions;
      Wide<T> result = kKind == Global::Max ? lowest<Wide<T>>() : Wide<T>{};
      for (std::int64_t i = 0; i < positions; ++i) {
        if constexpr (kKind == Global::Max) result = widen(in[i]) > result ? widen(in[i]) : result;
        else if constexpr (kKind == Global::Lp) result += to_power(in[i], p);
        else result += widen(in[i]);
      }
      if constexpr (kKind == Global::Average) result /= static_cast<Wide<T>>(positions);
      if constexpr (kKind == Global::Lp) result = std::pow(result, Wide<T>{1} / static_cast<Wide<T>>(p));
      y[plane] = narrow<T>(result);
    });
  });
}

void check_power(const NodeContext& node, std::vector<std::string>& reasons) {
  if (node.integer("p", 2) < 1) reasons.push_back(fmt::format("p = {}", node.integer("p", 2)));
}

void check_lp_pool(const NodeContext& node, std::vector<std::string>& reasons) {
  check_auto_pad(node, reasons);
  check_power(node, reasons);
}

}  // namespace

Windows pool_geometry(const NodeContext& node, const Shape& x) {
  const std::vector<std::int64_t> kernel = node.integers("kernel_shape");
  node.require(!kernel.empty(), "attribute 'kernel_shape' is missing");
  return window_geometry(node, x, kernel, node.integer("ceil_mode", 0) != 0);
}

std::int64_t averaged_taps(const WindowAxis& axis, std::int64_t out, bool include_padding) {
  const std::int64_t low = include_padding ? -axis.pad_begin : 0;
  const std::int64_t high = include_padding ? axis.input + axis.pad_end : axis.input;
  const std::int64_t first = out * axis.stride - axis.pad_begin;
  // Taps k with low <= first + k dilation < high.
  const std::int64_t begin = first >= low ? 0 : (low - first + axis.dilation - 1) / axis.dilation;
  const std::int64_t end = first >= high ? 0 : (high - first + axis.dilation - 1) / axis.dilation;
  return std::max<std::int64_t>(0, std::min(end, axis.kernel) - begin);
}

void add_pool_operators(OperatorList& list) {
  list.push_back({.name = "MaxPool",
                  .versions = {1, 8, 10, 11, 12, 22},
                  .check = check_auto_pad,
                  .infer = infer_pool,
                  .reference = reference_max_pool,
                  .flops = flops_pool});
  list.push_back({.name = "AveragePool",
                  .versions = {1, 7, 10, 11, 19, 22},
                  .check = check_auto_pad,
                  .infer = infer_pool,
                  .reference = reference_average_pool,
                  .flops = flops_pool});
  list.push_back({.name = "LpPool",
                  .versions = {2, 11, 18, 22},
                  .check = check_lp_pool,
                  .infer = infer_pool,
                  .reference = reference_lp_pool,
                  .flops = flops_pool});
  list.push_back({.name = "GlobalAveragePool",
                  .versions = {1, 22},
                  .infer = infer_global,
                  .reference = reference_global<Global::Average>,
                  .flops = flops_global});
  list.push_back({.name = "GlobalMaxPool",
                  .versions = {1, 22},
                  .infer = infer_global,
                  .reference = reference_global<Global::Max>,
                  .flops = flops_global});
  list.push_back({.name = "GlobalLpPool",
                  .versions = {2, 22},
                  .check = check_power,
                  .infer = infer_global,
                  .reference = reference_global<Global::Lp>,
                  .flops = flops_global});
}

}  // namespace ember::ops
