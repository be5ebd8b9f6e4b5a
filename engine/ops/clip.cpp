#include <cmath>
#include <limits>
#include <string>

#include <fmt/format.h>

#include "ops/registry.hpp"
#include "ops/typed.hpp"

// Clip: bounds are attributes up to opset 10 and optional inputs after.

namespace ember::ops {

namespace {

void infer_clip(InferContext& c) {
  if (c.type(0) == DataType::Bool || c.type(0) == DataType::Undefined)
    c.fail(ErrorCode::Unsupported, std::string("element type ") + to_string(c.type(0)));
  for (int i = 1; c.opset() >= 11 && i <= 2; ++i) {
    if (!c.has_input(i)) continue;
    c.require(c.shape(i).elements() == 1,
              fmt::format("bound {} must be a scalar, its shape is {}", i, to_string(c.shape(i))));
    c.require(c.type(i) == c.type(0), fmt::format("bound {} is {} but the data is {}", i,
                                                  to_string(c.type(i)), to_string(c.type(0))));
  }
  c.set_output(0, c.type(0), c.shape(0));
}

template <class T>
Wide<T> bound_of(const EvalContext& c, int i, Wide<T> otherwise) {
  return c.has_input(i) ? widen(c.input(i).data<T>()[0]) : otherwise;
}

template <class T>
void clip(const EvalContext& c) {
  using Limits = std::numeric_limits<Wide<T>>;
  Wide<T> low = Limits::has_infinity ? static_cast<Wide<T>>(-Limits::infinity()) : Limits::lowest();
  Wide<T> high = Limits::has_infinity ? Limits::infinity() : Limits::max();
  if (c.opset() >= 11) {
    low = bound_of<T>(c, 1, low);
    high = bound_of<T>(c, 2, high);
  } else if constexpr (!std::is_integral_v<T>) {
    constexpr float kLargest = std::numeric_limits<float>::max();
    low = static_cast<double>(c.real("min", -kLargest));
    high = static_cast<double>(c.real("max", kLargest));
  }
  const auto x = c.input(0).data<T>();
  const auto y = c.output(0).data<T>();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Wide<T> value = widen(x[i]);
    const Wide<T> raised = value < low ? low : value;
    y[i] = narrow<T>(raised > high ? high : raised);
  }
}

void reference_clip(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) { clip<decltype(zero)>(c); });
}

}  // namespace

void add_clip_operator(OperatorList& list) {
  list.push_back(
      {.name = "Clip", .versions = {6, 11, 12, 13}, .infer = infer_clip, .reference = reference_clip});
}

}  // namespace ember::ops
