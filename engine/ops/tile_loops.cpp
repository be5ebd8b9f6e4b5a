#include "ops/tile_loops.hpp"

#include <cstddef>

namespace ember::ops {

namespace {

using Extents = std::vector<std::int64_t>;

/// Drops axes of extent 1 and joins neighbours that every operand walks in one go.
void merge(Extents& dims, std::vector<Extents>& strides) {
  Extents merged;
  std::vector<Extents> merged_strides(strides.size());
  for (std::size_t axis = dims.size(); axis-- > 0;) {
    if (dims[axis] == 1) continue;
    const bool joins = !merged.empty() && [&] {
      for (std::size_t k = 0; k < strides.size(); ++k)
        if (strides[k][axis] != merged_strides[k].front() * merged.front()) return false;
      return true;
    }();
    if (joins) {
      merged.front() *= dims[axis];
      continue;
    }
    merged.insert(merged.begin(), dims[axis]);
    for (std::size_t k = 0; k < strides.size(); ++k)
      merged_strides[k].insert(merged_strides[k].begin(), strides[k][axis]);
  }
  dims = std::move(merged);
  strides = std::move(merged_strides);
}

/// Row-major distances, 0 along axes of extent 1.
Extents distances(const Extents& dims) {
  Extents strides(dims.size());
  std::int64_t stride = 1;
  for (std::size_t axis = dims.size(); axis-- > 0;) {
    strides[axis] = dims[axis] == 1 ? 0 : stride;
    stride *= dims[axis];
  }
  return strides;
}

Shape aligned(const Shape& shape, int rank) {
  Extents dims(static_cast<std::size_t>(rank - shape.rank()), 1);
  dims.insert(dims.end(), shape.begin(), shape.end());
  return Shape(dims);
}

}  // namespace

TileLoops::TileLoops(Extents dims, std::vector<Extents> strides) {
  merge(dims, strides);
  const std::size_t rank = dims.size();
  if (rank >= 1) width_ = dims[rank - 1];
  if (rank >= 2) rows_ = dims[rank - 2];
  for (std::size_t k = 0; k < strides.size(); ++k) {
    repeats_[k] = rank >= 1 && strides[k][rank - 1] == 0;
    row_steps_[k] = rank >= 2 ? strides[k][rank - 2] : 0;
  }
  for (std::size_t axis = 0; axis + 2 < rank; ++axis) {
    outer_dims_.push_back(dims[axis]);
    outer_ *= dims[axis];
    Offsets steps{};
    for (std::size_t k = 0; k < strides.size(); ++k) steps[k] = strides[k][axis];
    outer_strides_.push_back(steps);
  }
  const auto chunks = [](std::int64_t extent, std::int64_t chunk) { return (extent + chunk - 1) / chunk; };
  chunk_width_ = std::clamp<std::int64_t>(width_, 1, kTileElements);
  chunk_rows_ = std::clamp<std::int64_t>(kTileElements / chunk_width_, 1, std::max<std::int64_t>(rows_, 1));
  column_chunks_ = chunks(width_, chunk_width_);
  row_chunks_ = chunks(rows_, chunk_rows_);
  // A tile's rows must follow each other in the result: whole rows, or one row at a time.
  if (column_chunks_ > 1) {
    chunk_rows_ = 1;
    row_chunks_ = rows_;
  }
}

TileLoops::Span TileLoops::span_of(std::int64_t unit) const noexcept {
  Span span;
  const std::int64_t column = unit % column_chunks_ * chunk_width_;
  const std::int64_t row = unit / column_chunks_ % row_chunks_ * chunk_rows_;
  std::int64_t outer = unit / (column_chunks_ * row_chunks_);
  span.rows = std::min(chunk_rows_, rows_ - row);
  span.width = std::min(chunk_width_, width_ - column);
  span.out = (outer * rows_ + row) * width_ + column;
  for (std::size_t k = 0; k < span.in.size(); ++k)
    span.in[k] = row * row_steps_[k] + (repeats_[k] ? 0 : column);
  for (std::size_t axis = outer_dims_.size(); axis-- > 0;) {
    const std::int64_t at = outer % outer_dims_[axis];
    outer /= outer_dims_[axis];
    for (std::size_t k = 0; k < span.in.size(); ++k) span.in[k] += at * outer_strides_[axis][k];
  }
  return span;
}

std::vector<std::int64_t> memory_dims(const TensorDesc& desc) {
  Extents dims(desc.shape.begin(), desc.shape.end());
  if (desc.layout == Layout::Blocked) {
    dims[1] = (dims[1] + desc.block - 1) / desc.block;
    dims.push_back(desc.block);
  }
  return dims;
}

std::vector<std::int64_t> memory_strides(const TensorDesc& result, const TensorDesc& operand) {
  const TensorDesc full = {.type = operand.type,
                           .shape = aligned(operand.shape, result.shape.rank()),
                           .layout = operand.layout,
                           .block = operand.block};
  Extents strides = distances(memory_dims(full));
  if (result.layout == Layout::Blocked && operand.layout == Layout::Plain) strides.push_back(0);
  return strides;
}

}  // namespace ember::ops
