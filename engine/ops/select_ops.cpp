#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/movement.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// NonZero, Compress, ReverseSequence, Trilu, CumSum: elements chosen, reordered or summed by position.

namespace ember::ops {

namespace {

/// Positions of the elements that are not 0.
std::vector<std::int64_t> nonzero_positions(const NodeContext& c, const ConstTensorView& view) {
  std::vector<std::int64_t> positions;
  dispatch_any(c, view.type(), [&](auto zero) {
    using T = decltype(zero);
    const auto data = view.data<T>();
    for (std::size_t i = 0; i < data.size(); ++i) {
      if (widen(data[i]) != 0) positions.push_back(static_cast<std::int64_t>(i));
    }
  });
  return positions;
}

void infer_nonzero(InferContext& c) {
  const auto count = static_cast<std::int64_t>(nonzero_positions(c, c.required_value(0).view()).size());
  c.set_output(0, DataType::Int64, {c.shape(0).rank(), count});
}

void reference_nonzero(EvalContext& c) {
  const Shape& shape = c.input(0).shape();
  const std::vector<std::int64_t> positions = nonzero_positions(c, c.input(0));
  const auto to = c.output(0).data<std::int64_t>();
  const PerAxis strides = dense_strides(shape);
  std::size_t at = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    for (const std::int64_t position : positions)
      to[at++] = position / strides[static_cast<std::size_t>(axis)] % shape[axis];
  }
}

/// Compress along an axis; without one the data is seen flat.
struct Compression {
  std::int64_t outer, extent, inner;
  std::vector<std::int64_t> picks;
};
Compression compression(const NodeContext& c, const Shape& data, const ConstTensorView& condition) {
  c.require(condition.type() == DataType::Bool && condition.shape().rank() == 1,
            "the condition must be a vector of bool");
  Compression result{.outer = 1, .extent = data.elements(), .inner = 1};
  if (c.has("axis")) {
    const int axis = normalize_axis(c, c.integer("axis", 0), data.rank());
    result.outer = data.elements(0, axis);
    result.extent = data[axis];
    result.inner = data.elements(axis + 1, data.rank());
  }
  result.picks = nonzero_positions(c, condition);
  c.require(condition.elements() <= result.extent,
            fmt::format("{} conditions for an extent of {}", condition.elements(), result.extent));
  return result;
}

void infer_compress(InferContext& c) {
  const Compression result = compression(c, c.shape(0), c.required_value(1).view());
  const auto count = static_cast<std::int64_t>(result.picks.size());
  if (!c.has("axis")) return c.set_output(0, c.type(0), {count});
  const int axis = normalize_axis(c, c.integer("axis", 0), c.shape(0).rank());
  c.set_output(0, c.type(0), c.shape(0).with(axis, count));
}

void reference_compress(EvalContext& c) {
  const ConstTensorView& from = c.input(0);
  const Compression result = compression(c, from.shape(), c.input(1));
  const std::size_t run = static_cast<std::size_t>(result.inner) * size_of(from.type());
  if (run == 0) return;
  auto* to = static_cast<std::byte*>(c.output(0).raw());
  for (std::int64_t row = 0; row < result.outer; ++row) {
    for (const std::int64_t pick : result.picks) {
      const auto source = static_cast<std::size_t>(row * result.extent + pick);
      std::memcpy(to, static_cast<const std::byte*>(from.raw()) + source * run, run);
      to += run;
    }
  }
}

void infer_reverse_sequence(InferContext& c) {
  c.require(c.shape(0).rank() >= 2, "the input needs rank 2 at least");
  const std::int64_t batch = c.integer("batch_axis", 1);
  const std::int64_t time = c.integer("time_axis", 0);
  c.require((batch == 0 && time == 1) || (batch == 1 && time == 0),
            "batch_axis and time_axis must be 0 and 1");
  c.require(c.shape(1) == Shape{c.shape(0)[static_cast<int>(batch)]},
            "sequence_lens must have one entry per sequence");
  c.set_output(0, c.type(0), c.shape(0));
}

void reference_reverse_sequence(EvalContext& c) {
  const ConstTensorView& from = c.input(0);
  const auto batch_axis = static_cast<int>(c.integer("batch_axis", 1));
  const int time_axis = 1 - batch_axis;
  const std::vector<std::int64_t> lengths = c.integers_of(1);
  const PerAxis strides = dense_strides(from.shape());
  const std::size_t element = size_of(from.type());
  const std::size_t run = static_cast<std::size_t>(from.shape().elements(2, from.shape().rank())) * element;
  for (std::int64_t b = 0; b < from.shape()[batch_axis]; ++b) {
    const std::int64_t length = lengths[static_cast<std::size_t>(b)];
    if (length < 0 || length > from.shape()[time_axis])
      c.fail(ErrorCode::InvalidData,
             fmt::format("a sequence of length {} in {} steps", length, from.shape()[time_axis]));
    for (std::int64_t t = 0; t < from.shape()[time_axis] && run != 0; ++t) {
      const std::int64_t source = t < length ? length - 1 - t : t;
      const auto offset = [&](std::int64_t step) {
        return static_cast<std::size_t>(b * strides[static_cast<std::size_t>(batch_axis)] +
                                        step * strides[static_cast<std::size_t>(time_axis)]) *
               element;
      };
      std::memcpy(static_cast<std::byte*>(c.output(0).raw()) + offset(t),
                  static_cast<const std::byte*>(from.raw()) + offset(source), run);
    }
  }
}

void infer_trilu(InferContext& c) {
  c.require(c.shape(0).rank() >= 2, "the input needs rank 2 at least");
  c.set_output(0, c.type(0), c.shape(0));
}

void reference_trilu(EvalContext& c) {
  const ConstTensorView& from = c.input(0);
  const bool upper = c.integer("upper", 1) != 0;
  const std::int64_t rows = from.shape()[from.shape().rank() - 2];
  const std::int64_t columns = from.shape()[from.shape().rank() - 1];
  std::int64_t diagonal = 0;
  if (c.has_input(1)) {
    const std::vector<std::int64_t> k = c.integers_of(1);
    c.require(k.size() == 1, "k is not one number");
    diagonal = std::clamp(k[0], -rows - 1, columns + 1);  // further out changes nothing
  }
  dispatch_by_size(size_of(from.type()), [&](auto zero) {
    using Word = decltype(zero);
    for (std::int64_t i = 0; i < from.elements(); ++i) {
      const std::int64_t offset = i % columns - i / columns % rows;
      const bool kept = upper ? offset >= diagonal : offset <= diagonal;
      words<Word>(c.output(0))[i] = kept ? words<Word>(from)[i] : Word{};
    }
  });
}

void infer_cumsum(InferContext& c) { c.set_output(0, c.type(0), c.shape(0)); }

template <class T>
T sum_elements(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return a + b;
  else return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));  // wraps around
}

void reference_cumsum(EvalContext& c) {
  const ConstTensorView& from = c.input(0);
  const std::vector<std::int64_t> given = c.integers_of(1);
  c.require(given.size() == 1, "the axis is not one number");
  const int axis = normalize_axis(c, given[0], from.shape().rank());
  const bool exclusive = c.integer("exclusive", 0) != 0;
  const bool reverse = c.integer("reverse", 0) != 0;
  const std::int64_t extent = from.shape()[axis];
  const std::int64_t inner = from.shape().elements(axis + 1, from.shape().rank());
  const std::int64_t outer = from.shape().elements(0, axis);
  dispatch_numeric(c, from.type(), [&](auto zero) {
    using T = decltype(zero);
    const auto source = from.data<T>();
    const auto target = c.output(0).data<T>();
    for (std::int64_t line = 0; line < outer * inner; ++line) {
      const std::int64_t base = line / inner * extent * inner + line % inner;
      Wide<T> sum{};
      for (std::int64_t i = 0; i < extent; ++i) {
        const auto at = static_cast<std::size_t>(base + (reverse ? extent - 1 - i : i) * inner);
        const Wide<T> next = sum_elements<Wide<T>>(sum, widen(source[at]));
        target[at] = narrow<T>(exclusive ? sum : next);
        sum = next;
      }
    }
  });
}

}  // namespace

void add_select_operators(OperatorList& list) {
  list.push_back({.name = "Compress",
                  .versions = {9, 11, 28},
                  .infer = infer_compress,
                  .reference = reference_compress,
                  .flops = no_flops});
  list.push_back(
      {.name = "CumSum", .versions = {11, 14}, .infer = infer_cumsum, .reference = reference_cumsum});
  list.push_back({.name = "NonZero",
                  .versions = {9, 13},
                  .infer = infer_nonzero,
                  .reference = reference_nonzero,
                  .flops = no_flops});
  list.push_back({.name = "ReverseSequence",
                  .versions = {10, 28},
                  .infer = infer_reverse_sequence,
                  .reference = reference_reverse_sequence,
                  .flops = no_flops});
  list.push_back({.name = "Trilu",
                  .versions = {14},
                  .infer = infer_trilu,
                  .reference = reference_trilu,
                  .flops = no_flops});
}

}  // namespace ember::ops
