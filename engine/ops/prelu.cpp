#include <array>
#include <cstdint>
#include <string>
#include <type_traits>

#include <fmt/format.h>

#include "ops/activation.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// PRelu: the slope broadcasts to the input, never the other way.

namespace ember::ops {

namespace {

void infer_prelu(InferContext& c) {
  c.require(c.type(0) == c.type(1),
            fmt::format("slope is {} but the data is {}", to_string(c.type(1)), to_string(c.type(0))));
  switch (c.type(0)) {
    case DataType::Float32:
    case DataType::Float64:
    case DataType::Float16:
    case DataType::BFloat16:
    case DataType::Int32:
    case DataType::Int64:
    case DataType::UInt32:
    case DataType::UInt64: break;
    default: c.fail(ErrorCode::Unsupported, std::string("element type ") + to_string(c.type(0)));
  }
  c.require(broadcast(c, c.shape(0), c.shape(1)) == c.shape(0),
            fmt::format("slope of shape {} does not broadcast to {}", to_string(c.shape(1)),
                        to_string(c.shape(0))));
  c.set_output(0, c.type(0), c.shape(0));
}

/// Index into a slope tensor that goes with each element of the input, visited in order.
class SlopeIndex {
 public:
  SlopeIndex(const Shape& input, const Shape& slope) : input_(input) {
    std::int64_t stride = 1;
    for (int back = 1; back <= slope.rank(); ++back) {
      const int axis = input.rank() - back;
      const std::int64_t extent = slope[slope.rank() - back];
      strides_[static_cast<std::size_t>(axis)] = extent == 1 ? 0 : stride;
      stride *= extent;
    }
  }

  [[nodiscard]] std::int64_t current() const { return current_; }
  void next() {
    for (int axis = input_.rank() - 1; axis >= 0; --axis) {
      const auto a = static_cast<std::size_t>(axis);
      current_ += strides_[a];
      if (++position_[a] < input_[axis]) return;
      current_ -= position_[a] * strides_[a];
      position_[a] = 0;
    }
  }

 private:
  Shape input_;
  std::array<std::int64_t, Shape::kMaxRank> strides_{};
  std::array<std::int64_t, Shape::kMaxRank> position_{};
  std::int64_t current_ = 0;
};

template <class T>
T prelu(T x, T slope) {
  if constexpr (std::is_unsigned_v<T>) return x;
  else if constexpr (std::is_integral_v<T>) {
    // Through unsigned, as overflow wraps.
    using U = std::make_unsigned_t<T>;
    return x < 0 ? static_cast<T>(static_cast<U>(x) * static_cast<U>(slope)) : x;
  } else {
    return widen(x) < 0 ? narrow<T>(widen(slope) * widen(x)) : x;
  }
}

void reference_prelu(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const auto x = c.input(0).data<T>();
    const auto slopes = c.input(1).data<T>();
    const auto y = c.output(0).data<T>();
    SlopeIndex index(c.input(0).shape(), c.input(1).shape());
    for (std::size_t i = 0; i < x.size(); ++i, index.next())
      y[i] = prelu(x[i], slopes[static_cast<std::size_t>(index.current())]);
  });
}

}  // namespace

SlopeLayout slope_layout(const Shape& slope, int input_rank) {
  if (slope.elements() == 1) return SlopeLayout::Single;
  if (input_rank < 2 || slope.rank() > input_rank) return SlopeLayout::Other;
  for (int back = 1; back <= slope.rank(); ++back) {
    const bool channel_axis = input_rank - back == 1;
    if (slope[slope.rank() - back] != 1 && !channel_axis) return SlopeLayout::Other;
  }
  return SlopeLayout::PerChannel;
}

void add_prelu_operator(OperatorList& list) {
  list.push_back(
      {.name = "PRelu", .versions = {7, 9, 16}, .infer = infer_prelu, .reference = reference_prelu});
}

}  // namespace ember::ops
