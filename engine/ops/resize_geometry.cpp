#include "ops/resize_geometry.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "ops/typed.hpp"

namespace ember::ops {

namespace {

/// Upsample and the first Resize know neither coordinate nor rounding modes.
bool is_plain(const NodeContext& node) { return node.op() == "Upsample" || node.opset() < 11; }

std::vector<double> reals_of(const NodeContext& node, const Tensor& tensor) {
  std::vector<double> out(static_cast<std::size_t>(tensor.elements()));
  dispatch_floating(node, tensor.type(), [&](auto zero) {
    std::ranges::transform(tensor.data<decltype(zero)>(), out.begin(),
                           [](auto v) { return static_cast<double>(widen(v)); });
  });
  return out;
}

/// The axes that scales, sizes and roi speak of.
std::vector<int> stated_axes(const NodeContext& node, int rank) {
  std::vector<int> axes;
  if (!node.has("axes")) {
    axes.resize(static_cast<std::size_t>(rank));
    std::iota(axes.begin(), axes.end(), 0);
    return axes;
  }
  for (const std::int64_t axis : node.integers("axes")) {
    axes.push_back(normalize_axis(node, axis, rank));
    node.require(std::ranges::count(axes, axes.back()) == 1, "an axis is repeated");
  }
  return axes;
}

std::vector<double> scales_of(const NodeContext& node, const Tensor* operand) {
  if (node.op() == "Upsample" && node.opset() < 9) {
    const std::vector<float> scales = node.reals("scales");
    return {scales.begin(), scales.end()};
  }
  return reals_of(node, *operand);
}

void apply_scales(const NodeContext& node, const std::vector<int>& axes, const std::vector<double>& scales,
                  std::vector<ResizeAxis>& all) {
  node.require(scales.size() == axes.size(),
               fmt::format("{} scales for {} axes", scales.size(), axes.size()));
  for (std::size_t i = 0; i < axes.size(); ++i) {
    ResizeAxis& axis = all[static_cast<std::size_t>(axes[i])];
    node.require(std::isfinite(scales[i]) && scales[i] > 0.0, fmt::format("scale {}", scales[i]));
    axis.scale = scales[i];
    // In float32: 2.3 times 10 is 23 to everybody who writes the scale with that in mind.
    const float width = static_cast<float>(axis.input) * static_cast<float>(scales[i]);
    const double cropped = static_cast<double>(width) * (axis.roi_end - axis.roi_start);
    node.require(cropped < 0x1p62, "an extent beyond all bounds");
    node.require(cropped >= 0.0, "a roi that ends before it starts");
    axis.width = static_cast<double>(width);
    axis.output = static_cast<std::int64_t>(std::floor(cropped));
  }
}

void apply_sizes(const NodeContext& node, const std::vector<int>& axes,
                 const std::vector<std::int64_t>& sizes, std::vector<ResizeAxis>& all) {
  node.require(sizes.size() == axes.size(), fmt::format("{} sizes for {} axes", sizes.size(), axes.size()));
  const std::string policy = node.text("keep_aspect_ratio_policy", "stretch");
  node.require(policy == "stretch" || policy == "not_larger" || policy == "not_smaller",
               fmt::format("keep_aspect_ratio_policy '{}'", policy));
  double common = policy == "not_larger" ? std::numeric_limits<double>::infinity() : 0.0;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    ResizeAxis& axis = all[static_cast<std::size_t>(axes[i])];
    node.require(sizes[i] >= 0, fmt::format("size {}", sizes[i]));
    node.require(axis.input > 0 || sizes[i] == 0, "an axis of extent 0 cannot grow");
    axis.output = sizes[i];
    axis.scale = axis.input == 0 ? 1.0 : static_cast<double>(sizes[i]) / static_cast<double>(axis.input);
    axis.width = static_cast<double>(sizes[i]);
    common = policy == "not_larger" ? std::min(common, axis.scale) : std::max(common, axis.scale);
  }
  if (policy == "stretch") return;
  for (const int i : axes) {
    ResizeAxis& axis = all[static_cast<std::size_t>(i)];
    axis.scale = common;
    axis.width = common * static_cast<double>(axis.input);
    node.require(axis.width < 0x1p62, "an extent beyond all bounds");
    axis.output = static_cast<std::int64_t>(std::floor(axis.width + 0.5));
  }
}

void apply_roi(const NodeContext& node, const std::vector<int>& axes, const Tensor* roi,
               std::vector<ResizeAxis>& all) {
  if (node.text("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize") return;
  node.require(roi != nullptr, "tf_crop_and_resize needs a roi");
  const std::vector<double> bounds = reals_of(node, *roi);
  node.require(bounds.size() == 2 * axes.size(),
               fmt::format("a roi of {} values for {} axes", bounds.size(), axes.size()));
  for (std::size_t i = 0; i < axes.size(); ++i) {
    ResizeAxis& axis = all[static_cast<std::size_t>(axes[i])];
    axis.roi_start = bounds[i];
    axis.roi_end = bounds[axes.size() + i];
    node.require(std::isfinite(axis.roi_start) && std::isfinite(axis.roi_end), "a roi that is not finite");
  }
}

ResizeMode mode_of(const NodeContext& node) {
  const std::string mode = node.text("mode", "nearest");
  if (mode == "nearest") return ResizeMode::Nearest;
  if (mode == "linear" || mode == "bilinear") return ResizeMode::Linear;
  node.require(mode == "cubic", fmt::format("mode '{}'", mode));
  return ResizeMode::Cubic;
}

/// Where output coordinate `x` lies on the input axis.
double original_coordinate(const NodeContext& node, const ResizeAxis& axis, double x) {
  const std::string mode =
      is_plain(node) ? "asymmetric" : node.text("coordinate_transformation_mode", "half_pixel");
  const auto input = static_cast<double>(axis.input);
  const double half_pixel = (x + 0.5) / axis.scale - 0.5;
  if (mode == "asymmetric") return x / axis.scale;
  if (mode == "half_pixel") return half_pixel;
  if (mode == "pytorch_half_pixel") return axis.output > 1 ? half_pixel : 0.0;
  if (mode == "align_corners") return axis.width == 1.0 ? 0.0 : x * (input - 1) / (axis.width - 1);
  if (mode == "tf_half_pixel_for_nn") return (x + 0.5) / axis.scale;
  if (mode == "half_pixel_symmetric") {
    const double adjustment = static_cast<double>(axis.output) / axis.width;
    return input / 2 * (1 - adjustment) + half_pixel;
  }
  node.require(mode == "tf_crop_and_resize", fmt::format("coordinate_transformation_mode '{}'", mode));
  if (axis.output <= 1) return 0.5 * (axis.roi_start + axis.roi_end) * (input - 1);
  return axis.roi_start * (input - 1) +
         x * (axis.roi_end - axis.roi_start) * (input - 1) / static_cast<double>(axis.output - 1);
}

double nearest(const NodeContext& node, const ResizeAxis& axis, double x) {
  if (is_plain(node)) return axis.scale < 1.0 ? std::ceil(x) : std::floor(x);
  const std::string mode = node.text("nearest_mode", "round_prefer_floor");
  if (mode == "round_prefer_floor") return std::ceil(x - 0.5);
  if (mode == "round_prefer_ceil") return std::floor(x + 0.5);
  if (mode == "floor") return std::floor(x);
  node.require(mode == "ceil", fmt::format("nearest_mode '{}'", mode));
  return std::ceil(x);
}

/// The interpolation kernel at a distance: a triangle, or Keys' cubic.
double kernel_at(ResizeMode mode, double a, double distance) {
  const double x = std::abs(distance);
  if (mode == ResizeMode::Linear) return std::max(0.0, 1.0 - x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0.0;
}

/// Weights around each output's place. Antialiasing stretches the kernel when the axis shrinks.
void interpolate(const NodeContext& node, const ResizeGeometry& g, const ResizeAxis& axis, AxisTaps& out) {
  const bool antialias = node.integer("antialias", 0) != 0;
  const bool exclude_outside = node.integer("exclude_outside", 0) != 0;
  const auto a = static_cast<double>(node.real("cubic_coeff_a", -0.75F));
  const double stretch = antialias ? std::min(axis.scale, 1.0) : 1.0;
  const double support = g.mode == ResizeMode::Linear ? 1.0 : 2.0;
  const auto first = static_cast<std::int64_t>(std::floor(-support / stretch)) + 1;
  out.taps = 2 - 2 * first;
  for (std::int64_t o = 0; o < axis.output; ++o) {
    const double x = original_coordinate(node, axis, static_cast<double>(o));
    // A place on a pixel counts as the right end of the interval before it.
    const double base = std::ceil(x) - 1;
    double sum = 0.0;
    for (std::int64_t i = 0; i < out.taps; ++i) {
      const double at = base + static_cast<double>(first + i);
      const bool outside = at < 0 || at > static_cast<double>(axis.input - 1);
      const double weight = outside && exclude_outside ? 0.0 : kernel_at(g.mode, a, (at - x) * stretch);
      out.index.push_back(
          static_cast<std::int64_t>(std::clamp(at, 0.0, static_cast<double>(axis.input - 1))));
      out.weight.push_back(weight);
      sum += weight;
    }
    if ((antialias || exclude_outside) && sum != 0.0)
      for (std::int64_t i = 0; i < out.taps; ++i)
        out.weight[out.weight.size() - 1 - static_cast<std::size_t>(i)] /= sum;
  }
}

}  // namespace

Shape ResizeGeometry::output_shape() const {
  std::vector<std::int64_t> dims;
  for (const ResizeAxis& axis : axes) dims.push_back(axis.output);
  return Shape(dims);
}

ResizeInputs resize_inputs(const NodeContext& node) {
  if (node.op() == "Upsample") return {.scales = node.opset() < 9 ? -1 : 1};
  if (node.opset() < 11) return {.scales = 1};
  return {.roi = 1, .scales = 2, .sizes = 3};
}

ResizeGeometry resize_geometry(const NodeContext& node, const Shape& x, const ResizeOperands& operands) {
  ResizeGeometry g;
  g.mode = mode_of(node);
  g.extrapolation = node.real("extrapolation_value", 0.0F);
  node.require(g.mode != ResizeMode::Nearest || node.integer("antialias", 0) == 0,
               "antialias with mode nearest");
  for (const std::int64_t extent : x)
    g.axes.push_back({.input = extent, .output = extent, .width = static_cast<double>(extent)});
  const std::vector<int> axes = stated_axes(node, x.rank());
  apply_roi(node, axes, operands.roi, g.axes);
  if (operands.sizes != nullptr) {
    node.require(operands.scales == nullptr, "both scales and sizes are given");
    const auto sizes = operands.sizes->data<std::int64_t>();
    apply_sizes(node, axes, {sizes.begin(), sizes.end()}, g.axes);
  } else {
    node.require(operands.scales != nullptr || resize_inputs(node).scales < 0,
                 "neither scales nor sizes are given");
    apply_scales(node, axes, scales_of(node, operands.scales), g.axes);
  }
  return g;
}

AxisTaps axis_taps(const NodeContext& node, const ResizeGeometry& geometry, const ResizeAxis& axis) {
  AxisTaps out;
  out.outside.resize(static_cast<std::size_t>(axis.output), false);
  const bool crop = node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize";
  const auto last = static_cast<double>(axis.input - 1);
  if (axis.input == 0) node.require(axis.output == 0, "an axis of extent 0 cannot grow");
  for (std::int64_t o = 0; o < axis.output; ++o) {
    const double x = original_coordinate(node, axis, static_cast<double>(o));
    out.outside[static_cast<std::size_t>(o)] = crop && (x < 0 || x > last);
    if (geometry.mode != ResizeMode::Nearest) continue;
    out.index.push_back(static_cast<std::int64_t>(std::clamp(nearest(node, axis, x), 0.0, last)));
    out.weight.push_back(1.0);
  }
  if (geometry.mode != ResizeMode::Nearest) interpolate(node, geometry, axis, out);
  return out;
}

}  // namespace ember::ops
