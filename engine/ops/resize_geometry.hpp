#pragma once

#include <cstdint>
#include <vector>

#include "ops/op.hpp"

namespace ember::ops {

enum class ResizeMode : std::uint8_t { Nearest, Linear, Cubic };

/// How one axis of a Resize maps output coordinates to input coordinates.
struct ResizeAxis {
  std::int64_t input = 1;
  std::int64_t output = 1;
  double scale = 1.0;
  double width = 1.0;  ///< output extent before rounding to a whole number
  double roi_start = 0.0, roi_end = 1.0;

  [[nodiscard]] bool identity() const noexcept {
    return input == output && scale == 1.0 && roi_start == 0.0 && roi_end == 1.0;
  }
};

/// A Resize or Upsample node with everything its attributes and inputs decide.
struct ResizeGeometry {
  ResizeMode mode = ResizeMode::Nearest;
  std::vector<ResizeAxis> axes;  ///< one per axis of X
  float extrapolation = 0.0F;    ///< value of outputs that lie outside (tf_crop_and_resize)

  [[nodiscard]] Shape output_shape() const;
};

/// Elements of the inputs that decide the geometry; null when left out or empty.
struct ResizeOperands {
  const Tensor* roi = nullptr;
  const Tensor* scales = nullptr;
  const Tensor* sizes = nullptr;
};

/// Input index of roi, scales and sizes for this node's operator and opset, -1 where there is none.
struct ResizeInputs {
  int roi = -1, scales = -1, sizes = -1;
};
ResizeInputs resize_inputs(const NodeContext& node);

/// Fails (InvalidModel) when attributes and operands do not fit `x`.
ResizeGeometry resize_geometry(const NodeContext& node, const Shape& x, const ResizeOperands& operands);

/// What one axis reads: output o is the sum over its taps of weight[o·taps + i] · input[index[o·taps + i]].
struct AxisTaps {
  std::int64_t taps = 1;
  std::vector<std::int64_t> index;
  std::vector<double> weight;
  std::vector<bool> outside;  ///< by output: takes the extrapolation value instead
};
AxisTaps axis_taps(const NodeContext& node, const ResizeGeometry& geometry, const ResizeAxis& axis);

}  // namespace ember::ops
