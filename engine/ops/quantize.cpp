#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "ops/quantization.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear.

namespace ember::ops {

namespace {

constexpr int kX = 0, kScale = 1, kZeroPoint = 2;

const ConstTensorView* zero_points(const EvalContext& c) {
  return c.has_input(kZeroPoint) ? &c.input(kZeroPoint) : nullptr;
}

void check_type_attribute(const NodeContext& c, const char* name, std::vector<std::string>& reasons) {
  std::string reason = unsupported_type_attribute(c, name);
  if (!reason.empty()) reasons.push_back(std::move(reason));
}

void check_quantize(const NodeContext& c, std::vector<std::string>& reasons) {
  check_type_attribute(c, "output_dtype", reasons);
  check_type_attribute(c, "precision", reasons);
}

void check_dequantize(const NodeContext& c, std::vector<std::string>& reasons) {
  check_type_attribute(c, "output_dtype", reasons);
}

void require_zero_point(const InferContext& c) {
  if (!c.has_input(kZeroPoint)) return;
  c.require(c.shape(kZeroPoint).elements() == c.shape(kScale).elements(),
            fmt::format("a zero point of shape {} for a scale of shape {}", to_string(c.shape(kZeroPoint)),
                        to_string(c.shape(kScale))));
}

void infer_quantize(InferContext& c) {
  (void)granularity(c, c.shape(kX), c.shape(kScale));
  require_zero_point(c);
  const DataType given = c.has_input(kZeroPoint) ? c.type(kZeroPoint) : DataType::Undefined;
  const DataType type = quantised_type(c, given, DataType::UInt8);
  if (type != DataType::Int32) dispatch_quantised(c, type, [](auto) {});
  else c.fail(ErrorCode::InvalidModel, "quantisation to int32");
  c.set_output(0, type, c.shape(kX));
}

void infer_dequantize(InferContext& c) {
  (void)granularity(c, c.shape(kX), c.shape(kScale));
  require_zero_point(c);
  dispatch_quantised(c, c.type(kX), [](auto) {});
  c.require(!c.has_input(kZeroPoint) || c.type(kZeroPoint) == c.type(kX),
            "the zero point must have the type of x");
  const DataType type = quantised_type(c, DataType::Undefined, c.type(kScale));
  c.require(is_floating(type), fmt::format("dequantisation to {}", to_string(type)));
  c.set_output(0, type, c.shape(kX));
}

/// x / scale, rounded to the precision that the division has by the specification, then to even.
double divide(double x, double scale, DataType precision) {
  switch (precision) {
    case DataType::Float32: return std::nearbyint(static_cast<float>(x) / static_cast<float>(scale));
    case DataType::Float16:
      return std::nearbyint(static_cast<float>(Half(static_cast<float>(Half(static_cast<float>(x))) /
                                                    static_cast<float>(Half(static_cast<float>(scale))))));
    case DataType::BFloat16:
      return std::nearbyint(
          static_cast<float>(BFloat(static_cast<float>(BFloat(static_cast<float>(x))) /
                                    static_cast<float>(BFloat(static_cast<float>(scale))))));
    default: return std::nearbyint(x / scale);
  }
}

template <class F>
void dispatch_scale(const NodeContext& node, DataType type, F&& f) {
  if (type == DataType::Int32) f(std::int32_t{});
  else dispatch_floating(node, type, f);
}

void reference_quantize(EvalContext& c) {
  const Granularity g = granularity(c, c.input(kX).shape(), c.input(kScale).shape());
  const ConstTensorView* zeros = zero_points(c);
  const DataType stated = type_attribute(c, "precision");
  const DataType precision = stated == DataType::Undefined ? c.input(kScale).type() : stated;
  dispatch_quantised(c, c.output(0).type(), [&]<class T>(T) {
    dispatch_scale(c, c.input(kX).type(), [&]<class X>(X) {
      dispatch_scale(c, c.input(kScale).type(), [&]<class S>(S) {
        const auto x = c.input(kX).data<X>();
        const auto scale = c.input(kScale).data<S>();
        const auto y = c.output(0).data<T>();
        for (std::size_t i = 0; i < y.size(); ++i) {
          const std::int64_t at = g.scale_of(static_cast<std::int64_t>(i));
          const double quotient =
              divide(static_cast<double>(widen(x[i])),
                     static_cast<double>(widen(scale[static_cast<std::size_t>(at)])), precision);
          y[i] = saturate<T>(quotient, zero_point_at(zeros, at));
        }
      });
    });
  });
}

/// (x − zero point) · scale in the precision of the output.
template <class T>
T scaled(std::int64_t difference, double scale) {
  if constexpr (std::is_same_v<T, double>) return static_cast<double>(difference) * scale;
  else return T(static_cast<float>(T(static_cast<float>(difference))) * static_cast<float>(scale));
}

void reference_dequantize(EvalContext& c) {
  const Granularity g = granularity(c, c.input(kX).shape(), c.input(kScale).shape());
  const ConstTensorView* zeros = zero_points(c);
  dispatch_quantised(c, c.input(kX).type(), [&]<class X>(X) {
    dispatch_floating(c, c.input(kScale).type(), [&]<class S>(S) {
      dispatch_floating(c, c.output(0).type(), [&]<class T>(T) {
        const auto x = c.input(kX).data<X>();
        const auto scale = c.input(kScale).data<S>();
        const auto y = c.output(0).data<T>();
        for (std::size_t i = 0; i < y.size(); ++i) {
          const std::int64_t at = g.scale_of(static_cast<std::int64_t>(i));
          y[i] = scaled<T>(static_cast<std::int64_t>(x[i]) - zero_point_at(zeros, at),
                           static_cast<double>(widen(scale[static_cast<std::size_t>(at)])));
        }
      });
    });
  });
}

void infer_dynamic(InferContext& c) {
  c.require(c.type(kX) == DataType::Float32, fmt::format("input of {}", to_string(c.type(kX))));
  c.set_output(0, DataType::UInt8, c.shape(kX));
  c.set_output(1, DataType::Float32, Shape{});
  c.set_output(2, DataType::UInt8, Shape{});
}

/// The range of x, widened to hold 0, is spread over 0 to 255. An all-zero x gets scale 1.
void reference_dynamic(EvalContext& c) {
  const auto x = c.input(kX).data<float>();
  float low = 0.0F;
  float high = 0.0F;
  for (const float v : x) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  const float range = (high - low) / 255.0F;
  const float scale = range == 0.0F ? 1.0F : range;
  const auto zero = saturate<std::uint8_t>(std::nearbyint(-low / scale), 0);
  if (c.has_output(0)) {
    const auto y = c.output(0).data<std::uint8_t>();
    for (std::size_t i = 0; i < y.size(); ++i)
      y[i] = saturate<std::uint8_t>(divide(x[i], scale, DataType::Float32), zero);
  }
  if (c.has_output(1)) c.output(1).data<float>()[0] = scale;
  if (c.has_output(2)) c.output(2).data<std::uint8_t>()[0] = zero;
}

}  // namespace

void add_quantize_operators(OperatorList& list) {
  const std::vector<int> versions = {10, 13, 19, 21, 23, 24, 25, 28};
  list.push_back({.name = "QuantizeLinear",
                  .versions = versions,
                  .check = check_quantize,
                  .infer = infer_quantize,
                  .reference = reference_quantize});
  list.push_back({.name = "DequantizeLinear",
                  .versions = versions,
                  .check = check_dequantize,
                  .infer = infer_dequantize,
                  .reference = reference_dequantize});
  list.push_back({.name = "DynamicQuantizeLinear",
                  .versions = {11},
                  .infer = infer_dynamic,
                  .reference = reference_dynamic});
}

}  // namespace ember::ops
