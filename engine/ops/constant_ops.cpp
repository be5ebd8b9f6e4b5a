#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/movement.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// Constant, ConstantOfShape, Range, OneHot, EyeLike: tensors made from a few numbers.

namespace ember::ops {

namespace {

/// The one value attribute that a Constant carries, as a tensor.
Tensor constant_value(const NodeContext& c) {
  if (const Tensor* value = c.tensor("value")) return *value;
  if (c.has("value_float")) return Tensor::scalar(c.real("value_float", 0));
  if (c.has("value_int")) return Tensor::scalar(c.integer("value_int", 0));
  if (c.has("value_floats")) {
    const std::vector<float> values = c.reals("value_floats");
    return {Shape{static_cast<std::int64_t>(values.size())}, values};
  }
  if (c.has("value_ints")) {
    const std::vector<std::int64_t> values = c.integers("value_ints");
    return {Shape{static_cast<std::int64_t>(values.size())}, values};
  }
  c.fail(ErrorCode::Unsupported, "the constant is neither a tensor nor numbers");
}

void check_constant(const NodeContext& c, std::vector<std::string>& reasons) {
  const auto names = {"value", "value_float", "value_int", "value_floats", "value_ints"};
  if (std::ranges::none_of(names, [&](const char* name) { return c.has(name); }))
    reasons.emplace_back("the constant is neither a tensor nor numbers");
}

void infer_constant(InferContext& c) {
  const Tensor value = constant_value(c);
  c.set_output(0, value.type(), value.shape());
}

void reference_constant(EvalContext& c) { copy_elements(constant_value(c).view(), c.output(0)); }

Tensor fill_value(const NodeContext& c) {
  const Tensor* value = c.tensor("value");
  if (value == nullptr) return Tensor::scalar(0.0F);
  c.require(value->elements() == 1, "attribute 'value' is not one element");
  return *value;
}

void infer_constant_of_shape(InferContext& c) {
  const std::vector<std::int64_t> dims = c.required_integers(0);
  for (const std::int64_t extent : dims) c.require(extent >= 0, fmt::format("extent {}", extent));
  c.set_output(0, fill_value(c).type(), Shape(dims));
}

void reference_constant_of_shape(EvalContext& c) {
  const Tensor value = fill_value(c);
  const TensorView& to = c.output(0);
  dispatch_by_size(size_of(to.type()), [&](auto zero) {
    using Word = decltype(zero);
    std::fill_n(words<Word>(to), to.elements(), words<Word>(value.view())[0]);
  });
}

template <class F>
void dispatch_range(const NodeContext& c, DataType type, F&& f) {
  switch (type) {
    case DataType::Float32: return f(float{});
    case DataType::Float64: return f(double{});
    case DataType::Int16: return f(std::int16_t{});
    case DataType::Int32: return f(std::int32_t{});
    case DataType::Int64: return f(std::int64_t{});
    case DataType::Float16:
      if (c.opset() >= 27) return f(Half{});
      break;
    case DataType::BFloat16:
      if (c.opset() >= 27) return f(BFloat{});
      break;
    default: break;
  }
  c.fail(ErrorCode::Unsupported, fmt::format("element type {}", to_string(type)));
}

template <class T>
std::int64_t range_length(const NodeContext& c, T start, T limit, T delta) {
  c.require(delta != 0, "a delta of 0");
  if constexpr (std::is_integral_v<T>) {
    if (delta > 0 ? start >= limit : start <= limit) return 0;
    const auto from = static_cast<std::uint64_t>(delta > 0 ? start : limit);
    const auto to = static_cast<std::uint64_t>(delta > 0 ? limit : start);
    const auto step = delta > 0 ? static_cast<std::uint64_t>(delta) : 0 - static_cast<std::uint64_t>(delta);
    const std::uint64_t count = (to - from - 1) / step + 1;
    if (count > (std::uint64_t{1} << 62)) c.fail(ErrorCode::ResourceLimit, "the range is beyond any tensor");
    return static_cast<std::int64_t>(count);
  } else {
    const double count =
        std::ceil((static_cast<double>(limit) - static_cast<double>(start)) / static_cast<double>(delta));
    if (!(count < 0x1p62)) c.fail(ErrorCode::ResourceLimit, "the range is beyond any tensor");
    return count > 0 ? static_cast<std::int64_t>(count) : 0;
  }
}

void infer_range(InferContext& c) {
  for (const int i : {0, 1, 2}) {
    c.require(c.type(i) == c.type(0), "start, limit and delta differ in type");
    c.require(c.required_value(i).elements() == 1, "start, limit and delta must be scalars");
  }
  dispatch_range(c, c.type(0), [&](auto zero) {
    using T = decltype(zero);
    const auto number = [&](int i) { return widen(c.required_value(i).template data<T>()[0]); };
    c.set_output(0, c.type(0), {range_length<Wide<T>>(c, number(0), number(1), number(2))});
  });
}

void reference_range(EvalContext& c) {
  dispatch_range(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const T start = c.input(0).data<T>()[0];
    const T delta = c.input(2).data<T>()[0];
    const auto to = c.output(0).data<T>();
    for (std::size_t i = 0; i < to.size(); ++i) {
      if constexpr (std::is_integral_v<T>)
        to[i] = static_cast<T>(static_cast<std::uint64_t>(start) + i * static_cast<std::uint64_t>(delta));
      else to[i] = narrow<T>(widen(start) + static_cast<double>(i) * widen(delta));
    }
  });
}

/// One element of any numeric type as an integer, fractions dropped.
std::int64_t to_integer(const NodeContext& c, const ConstTensorView& view, std::int64_t at) {
  std::int64_t number = 0;
  dispatch_any(c, view.type(), [&](auto zero) {
    using T = decltype(zero);
    const auto value = widen(view.data<T>()[static_cast<std::size_t>(at)]);
    if constexpr (std::is_floating_point_v<Wide<T>>) {
      if (!(std::abs(value) < 0x1p62)) c.fail(ErrorCode::InvalidData, fmt::format("{} is no index", value));
    }
    number = static_cast<std::int64_t>(value);
  });
  return number;
}

void infer_one_hot(InferContext& c) {
  const Shape& indices = c.shape(0);
  const Tensor& depth_tensor = c.required_value(1);
  c.require(depth_tensor.elements() == 1, "the depth is not one number");
  const std::int64_t depth = to_integer(c, depth_tensor.view(), 0);
  c.require(depth >= 0, fmt::format("a depth of {}", depth));
  c.require(c.shape(2).elements() == 2, "the values are not two: off and on");
  const int axis = normalize_axis(c, c.integer("axis", -1), indices.rank() + 1);
  std::vector<std::int64_t> dims(indices.begin(), indices.end());
  dims.insert(dims.begin() + axis, depth);
  c.set_output(0, c.type(2), Shape(dims));
}

void reference_one_hot(EvalContext& c) {
  const ConstTensorView& indices = c.input(0);
  const TensorView& to = c.output(0);
  const int axis = normalize_axis(c, c.integer("axis", -1), to.shape().rank());
  const std::int64_t depth = to.shape()[axis];
  const std::int64_t inner = to.shape().elements(axis + 1, to.shape().rank());
  dispatch_by_size(size_of(to.type()), [&](auto zero) {
    using Word = decltype(zero);
    const Word off = words<Word>(c.input(2))[0];
    const Word on = words<Word>(c.input(2))[1];
    std::fill_n(words<Word>(to), to.elements(), off);
    for (std::int64_t i = 0; i < indices.elements(); ++i) {
      std::int64_t hot = to_integer(c, indices, i);
      if (hot < 0 && c.opset() >= 11) hot += depth;
      if (hot >= 0 && hot < depth) words<Word>(to)[(i / inner * depth + hot) * inner + i % inner] = on;
    }
  });
}

void check_eye_like(const NodeContext& c, std::vector<std::string>& reasons) {
  if (c.has("dtype") && !type_from_onnx(c.integer("dtype", 0)))
    reasons.push_back(fmt::format("dtype {}", c.integer("dtype", 0)));
}

void infer_eye_like(InferContext& c) {
  c.require(c.shape(0).rank() == 2, fmt::format("the input has rank {}, not 2", c.shape(0).rank()));
  const auto stated = c.has("dtype") ? type_from_onnx(c.integer("dtype", 0)) : c.type(0);
  if (!stated) c.fail(ErrorCode::Unsupported, fmt::format("dtype {}", c.integer("dtype", 0)));
  c.set_output(0, *stated, c.shape(0));
}

void reference_eye_like(EvalContext& c) {
  const TensorView& to = c.output(0);
  const std::int64_t diagonal = c.integer("k", 0);
  const std::int64_t columns = to.shape()[1];
  dispatch_any(c, to.type(), [&](auto zero) {
    using T = decltype(zero);
    const auto data = to.data<T>();
    for (std::size_t i = 0; i < data.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i) / columns;
      const bool on = static_cast<std::int64_t>(i) % columns - row == diagonal;
      data[i] = narrow<T>(static_cast<Wide<T>>(on ? 1 : 0));
    }
  });
}

}  // namespace

void add_constant_operators(OperatorList& list) {
  list.push_back({.name = "Constant",
                  .versions = {1, 9, 11, 12, 13, 19, 21, 23, 24, 25},
                  .check = check_constant,
                  .infer = infer_constant,
                  .reference = reference_constant,
                  .flops = no_flops});
  list.push_back({.name = "ConstantOfShape",
                  .versions = {9, 20, 21, 23, 24, 25},
                  .infer = infer_constant_of_shape,
                  .reference = reference_constant_of_shape,
                  .flops = no_flops});
  list.push_back({.name = "EyeLike",
                  .versions = {9, 22},
                  .check = check_eye_like,
                  .infer = infer_eye_like,
                  .reference = reference_eye_like,
                  .flops = no_flops});
  list.push_back({.name = "OneHot",
                  .versions = {9, 11, 28},
                  .infer = infer_one_hot,
                  .reference = reference_one_hot,
                  .flops = no_flops});
  list.push_back({.name = "Range",
                  .versions = {11, 27},
                  .infer = infer_range,
                  .reference = reference_range,
                  .flops = no_flops});
}

}  // namespace ember::ops
