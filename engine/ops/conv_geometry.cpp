#include "ops/conv_geometry.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace ember::ops {

namespace {

/// Bound on every attribute number, so that products of two stay far from overflow.
constexpr std::int64_t kLargest = std::int64_t{1} << 31;

enum class AutoPad { NotSet, SameUpper, SameLower, Valid };

AutoPad auto_pad_of(const NodeContext& node) {
  const std::string text = node.text("auto_pad", "NOTSET");
  if (text == "SAME_UPPER") return AutoPad::SameUpper;
  if (text == "SAME_LOWER") return AutoPad::SameLower;
  if (text == "VALID") return AutoPad::Valid;
  node.require(text == "NOTSET" || text.empty(), fmt::format("auto_pad '{}' does not exist", text));
  return AutoPad::NotSet;
}

/// An attribute with one number per axis (`per_axis` 1) or two (`per_axis` 2: begins, then ends).
std::vector<std::int64_t> axis_numbers(const NodeContext& node, const char* name, std::size_t count,
                                       std::int64_t otherwise, std::int64_t smallest) {
  std::vector<std::int64_t> numbers = node.integers(name);
  if (numbers.empty()) numbers.assign(count, otherwise);
  node.require(numbers.size() == count,
               fmt::format("attribute '{}' has {} numbers, not {}", name, numbers.size(), count));
  for (const std::int64_t number : numbers) {
    node.require(number >= smallest && number <= kLargest,
                 fmt::format("attribute '{}' holds {}, outside [{}, {}]", name, number, smallest, kLargest));
  }
  return numbers;
}

struct AxisAttributes {
  int rank;
  std::vector<std::int64_t> strides, dilations, pads;
  AutoPad auto_pad;

  AxisAttributes(const NodeContext& node, const Shape& x, std::span<const std::int64_t> kernel)
      : rank(x.rank() - 2), auto_pad(auto_pad_of(node)) {
    if (rank < 1 || rank > kSpatialAxes) {
      node.fail(ErrorCode::Unsupported, fmt::format("an input of shape {}; one to {} spatial axes are run",
                                                    to_string(x), kSpatialAxes));
    }
    const auto axes = static_cast<std::size_t>(rank);
    node.require(kernel.size() == axes,
                 fmt::format("a kernel of {} axes on {} spatial axes", kernel.size(), axes));
    for (const std::int64_t k : kernel) {
      node.require(k >= 1 && k <= kLargest, fmt::format("a kernel extent of {}", k));
    }
    strides = axis_numbers(node, "strides", axes, 1, 1);
    dilations = axis_numbers(node, "dilations", axes, 1, 1);
    pads = axis_numbers(node, "pads", 2 * axes, 0, 0);
  }

  [[nodiscard]] WindowAxis axis(std::size_t i, const Shape& x, std::span<const std::int64_t> kernel) const {
    const auto axes = static_cast<std::size_t>(rank);
    return {.input = x[static_cast<int>(i) + 2],
            .kernel = kernel[i],
            .stride = strides[i],
            .dilation = dilations[i],
            .pad_begin = auto_pad == AutoPad::NotSet ? pads[i] : 0,
            .pad_end = auto_pad == AutoPad::NotSet ? pads[axes + i] : 0};
  }
};

void split_padding(WindowAxis& axis, std::int64_t total, bool more_at_end) {
  const std::int64_t half = total / 2;
  axis.pad_begin = more_at_end ? half : total - half;
  axis.pad_end = total - axis.pad_begin;
}

void place_windows(const NodeContext& node, WindowAxis& axis, AutoPad auto_pad, bool round_up) {
  if (auto_pad == AutoPad::SameUpper || auto_pad == AutoPad::SameLower) {
    axis.output = (axis.input + axis.stride - 1) / axis.stride;
    const std::int64_t total =
        std::max<std::int64_t>(0, (axis.output - 1) * axis.stride + axis.extent() - axis.input);
    split_padding(axis, total, auto_pad == AutoPad::SameUpper);
    return;
  }
  const std::int64_t room = axis.input + axis.pad_begin + axis.pad_end - axis.extent();
  node.require(room >= 0, fmt::format("a window of {} does not fit on {} positions with padding {} and {}",
                                      axis.extent(), axis.input, axis.pad_begin, axis.pad_end));
  axis.output = room / axis.stride + 1;
  if (round_up && room % axis.stride != 0) {
    // One more, overhanging the end, unless it would start beyond the input.
    if (axis.output * axis.stride < axis.input + axis.pad_begin) ++axis.output;
  }
}

void place_transposed(const NodeContext& node, WindowAxis& axis, AutoPad auto_pad, std::int64_t extra,
                      std::int64_t wanted) {
  const std::int64_t full = (axis.input - 1) * axis.stride + extra + axis.extent();
  const bool same = auto_pad == AutoPad::SameUpper || auto_pad == AutoPad::SameLower;
  if (wanted >= 0 || same) {
    axis.output = wanted >= 0 ? wanted : axis.input * axis.stride;
    split_padding(axis, std::max<std::int64_t>(0, full - axis.output), auto_pad == AutoPad::SameUpper);
    return;
  }
  axis.output = full - axis.pad_begin - axis.pad_end;
  node.require(axis.output >= 0, fmt::format("padding {} and {} is more than the {} output positions",
                                             axis.pad_begin, axis.pad_end, full));
}

std::span<const std::int64_t> kernel_of(const NodeContext& node, const Shape& x, const Shape& w) {
  node.require(x.rank() >= 3 && x.rank() == w.rank(),
               fmt::format("input {} and weights {} do not fit", to_string(x), to_string(w)));
  const std::span<const std::int64_t> kernel = w.dims().subspan(2);
  const std::vector<std::int64_t> stated = node.integers("kernel_shape");
  node.require(stated.empty() || std::ranges::equal(stated, kernel),
               fmt::format("kernel_shape differs from the weights' shape {}", to_string(w)));
  return kernel;
}

std::int64_t groups_of(const NodeContext& node) {
  const std::int64_t groups = node.integer("group", 1);
  node.require(groups >= 1 && groups <= kLargest, fmt::format("group {}", groups));
  return groups;
}

std::size_t place_in_axes(int i, int rank) { return static_cast<std::size_t>(kSpatialAxes - rank + i); }

}  // namespace

Windows window_geometry(const NodeContext& node, const Shape& x, std::span<const std::int64_t> kernel,
                        bool round_up) {
  const AxisAttributes attributes(node, x, kernel);
  Windows windows;
  windows.rank = attributes.rank;
  for (int i = 0; i < attributes.rank; ++i) {
    WindowAxis& axis = windows.axes[place_in_axes(i, attributes.rank)];
    axis = attributes.axis(static_cast<std::size_t>(i), x, kernel);
    place_windows(node, axis, attributes.auto_pad, round_up);
  }
  return windows;
}

Shape ConvGeometry::output_shape() const {
  std::vector<std::int64_t> dims = {batch, out_channels};
  for (int i = 0; i < windows.rank; ++i) dims.push_back(windows.axes[place_in_axes(i, windows.rank)].output);
  return Shape(dims);
}

double ConvGeometry::conv_flops() const noexcept {
  return 2.0 * static_cast<double>(batch) * static_cast<double>(out_channels) *
         static_cast<double>(windows.outputs()) * static_cast<double>(in_per_group()) *
         static_cast<double>(windows.taps());
}

ConvGeometry conv_geometry(const NodeContext& node, const Shape& x, const Shape& w) {
  const std::span<const std::int64_t> kernel = kernel_of(node, x, w);
  ConvGeometry g{.batch = x[0], .in_channels = x[1], .out_channels = w[0], .groups = groups_of(node)};
  node.require(
      w[1] * g.groups == g.in_channels && g.out_channels % g.groups == 0,
      fmt::format("{} groups do not divide input {} and weights {}", g.groups, to_string(x), to_string(w)));
  g.windows = window_geometry(node, x, kernel);
  return g;
}

ConvGeometry conv_transpose_geometry(const NodeContext& node, const Shape& x, const Shape& w) {
  const std::span<const std::int64_t> kernel = kernel_of(node, x, w);
  const AxisAttributes attributes(node, x, kernel);
  ConvGeometry g{.batch = x[0], .in_channels = x[1], .groups = groups_of(node)};
  node.require(
      w[0] == g.in_channels && w[0] % g.groups == 0 && w[1] <= kLargest,
      fmt::format("{} groups do not divide input {} and weights {}", g.groups, to_string(x), to_string(w)));
  g.out_channels = w[1] * g.groups;
  const auto axes = static_cast<std::size_t>(attributes.rank);
  const auto extra = axis_numbers(node, "output_padding", axes, 0, 0);
  std::vector<std::int64_t> wanted = node.integers("output_shape");
  // Some exporters also state batch and channels.
  if (wanted.size() == axes + 2) wanted.erase(wanted.begin(), wanted.begin() + 2);
  if (wanted.empty()) wanted.assign(axes, -1);
  else {
    node.require(wanted.size() == axes &&
                     std::ranges::all_of(
                         wanted, [](std::int64_t extent) { return extent >= 0 && extent <= kLargest; }),
                 "output_shape does not fit the input");
  }
  g.windows.rank = attributes.rank;
  for (int i = 0; i < attributes.rank; ++i) {
    const auto at = static_cast<std::size_t>(i);
    WindowAxis& axis = g.windows.axes[place_in_axes(i, attributes.rank)];
    axis = attributes.axis(at, x, kernel);
    place_transposed(node, axis, attributes.auto_pad, extra[at], wanted[at]);
  }
  return g;
}

void check_auto_pad(const NodeContext& node, std::vector<std::string>& reasons) {
  const std::string text = node.text("auto_pad", "NOTSET");
  for (const char* known : {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", ""}) {
    if (text == known) return;
  }
  reasons.push_back(fmt::format("auto_pad '{}'", text));
}

}  // namespace ember::ops
