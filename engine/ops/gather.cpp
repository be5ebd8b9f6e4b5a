#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/movement.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// Gather, GatherElements, GatherND: elements picked by index tensors.

namespace ember::ops {

namespace {

const std::byte* bytes_of(const ConstTensorView& view) { return static_cast<const std::byte*>(view.raw()); }
std::byte* bytes_of(const TensorView& view) { return static_cast<std::byte*>(view.raw()); }

void infer_gather(InferContext& c) {
  const Shape& data = c.shape(0);
  const Shape& indices = c.shape(1);
  const int axis = normalize_axis(c, c.integer("axis", 0), data.rank());
  std::vector<std::int64_t> dims(data.begin(), data.begin() + axis);
  dims.insert(dims.end(), indices.begin(), indices.end());
  dims.insert(dims.end(), data.begin() + axis + 1, data.end());
  c.set_output(0, c.type(0), Shape(dims));
}

void reference_gather(EvalContext& c) {
  const ConstTensorView& data = c.input(0);
  const int axis = normalize_axis(c, c.integer("axis", 0), data.shape().rank());
  const std::int64_t extent = data.shape()[axis];
  std::vector<std::int64_t> picks = c.integers_of(1);
  for (std::int64_t& pick : picks) pick = wrapped_index(c, pick, extent);
  const std::int64_t outer = data.shape().elements(0, axis);
  const std::size_t run =
      static_cast<std::size_t>(data.shape().elements(axis + 1, data.shape().rank())) * size_of(data.type());
  if (run == 0) return;
  std::byte* to = bytes_of(c.output(0));
  for (std::int64_t row = 0; row < outer; ++row) {
    for (const std::int64_t pick : picks) {
      std::memcpy(to, bytes_of(data) + static_cast<std::size_t>(row * extent + pick) * run, run);
      to += run;
    }
  }
}

void infer_gather_elements(InferContext& c) {
  const Shape& data = c.shape(0);
  const Shape& indices = c.shape(1);
  const int axis = normalize_axis(c, c.integer("axis", 0), data.rank());
  c.require(indices.rank() == data.rank(), "data and indices differ in rank");
  for (int i = 0; i < data.rank(); ++i) {
    c.require(i == axis || indices[i] <= data[i],
              fmt::format("indices {} reach beyond data {}", to_string(indices), to_string(data)));
  }
  c.set_output(0, c.type(0), indices);
}

void reference_gather_elements(EvalContext& c) {
  const ConstTensorView& data = c.input(0);
  const int axis = normalize_axis(c, c.integer("axis", 0), data.shape().rank());
  const std::vector<std::int64_t> picks = c.integers_of(1);
  const PerAxis strides = dense_strides(data.shape());
  const TensorView& to = c.output(0);
  dispatch_by_size(size_of(data.type()), [&](auto zero) {
    using Word = decltype(zero);
    for_each_index(to.shape(), [&](std::int64_t position, PerAxis index) {
      index[static_cast<std::size_t>(axis)] =
          wrapped_index(c, picks[static_cast<std::size_t>(position)], data.shape()[axis]);
      std::int64_t source = 0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(to.shape().rank()); ++i)
        source += index[i] * strides[i];
      words<Word>(to)[position] = words<Word>(data)[source];
    });
  });
}

/// GatherND's geometry: batch axes shared by both inputs, then index tuples of `depth` numbers.
struct TupleGather {
  int batch_axes;
  int depth;
};
TupleGather tuple_gather(const NodeContext& c, const Shape& data, const Shape& indices) {
  const std::int64_t batch = c.integer("batch_dims", 0);
  c.require(data.rank() >= 1 && indices.rank() >= 1, "data and indices need rank 1 at least");
  c.require(batch >= 0 && batch < data.rank() && batch < indices.rank(),
            fmt::format("batch_dims {} does not fit {} and {}", batch, to_string(data), to_string(indices)));
  const int batch_axes = static_cast<int>(batch);
  for (int i = 0; i < batch_axes; ++i) c.require(data[i] == indices[i], "batch extents differ");
  const std::int64_t depth = indices[indices.rank() - 1];
  c.require(depth >= 1 && depth <= data.rank() - batch_axes,
            fmt::format("index tuples of {} numbers into {}", depth, to_string(data)));
  return {batch_axes, static_cast<int>(depth)};
}

void infer_gather_nd(InferContext& c) {
  const Shape& data = c.shape(0);
  const Shape& indices = c.shape(1);
  const TupleGather g = tuple_gather(c, data, indices);
  std::vector<std::int64_t> dims(indices.begin(), indices.end() - 1);
  dims.insert(dims.end(), data.begin() + g.batch_axes + g.depth, data.end());
  c.set_output(0, c.type(0), Shape(dims));
}

void reference_gather_nd(EvalContext& c) {
  const ConstTensorView& data = c.input(0);
  const Shape& indices = c.input(1).shape();
  const TupleGather g = tuple_gather(c, data.shape(), indices);
  const std::vector<std::int64_t> tuples = c.integers_of(1);
  const std::int64_t batches = data.shape().elements(0, g.batch_axes);
  const std::int64_t per_batch = indices.elements(g.batch_axes, indices.rank() - 1);
  const int inner = g.batch_axes + g.depth;
  const std::int64_t block = data.shape().elements(g.batch_axes, data.shape().rank());
  const std::size_t element = size_of(data.type());
  const auto run = static_cast<std::size_t>(data.shape().elements(inner, data.shape().rank())) * element;
  const PerAxis strides = dense_strides(data.shape());
  for (std::int64_t i = 0; i < batches * per_batch; ++i) {
    std::int64_t source = i / per_batch * block;
    for (int d = 0; d < g.depth; ++d) {
      const int axis = g.batch_axes + d;
      const std::int64_t pick = tuples[static_cast<std::size_t>(i * g.depth + d)];
      source += wrapped_index(c, pick, data.shape()[axis]) * strides[static_cast<std::size_t>(axis)];
    }
    if (run == 0) continue;
    std::memcpy(bytes_of(c.output(0)) + static_cast<std::size_t>(i) * run,
                bytes_of(data) + static_cast<std::size_t>(source) * element, run);
  }
}

}  // namespace

void add_gather_operators(OperatorList& list) {
  list.push_back({.name = "Gather",
                  .versions = {1, 11, 13},
                  .infer = infer_gather,
                  .reference = reference_gather,
                  .flops = no_flops});
  list.push_back({.name = "GatherElements",
                  .versions = {11, 13},
                  .infer = infer_gather_elements,
                  .reference = reference_gather_elements,
                  .flops = no_flops});
  list.push_back({.name = "GatherND",
                  .versions = {11, 12, 13},
                  .infer = infer_gather_nd,
                  .reference = reference_gather_nd,
                  .flops = no_flops});
}

}  // namespace ember::ops
