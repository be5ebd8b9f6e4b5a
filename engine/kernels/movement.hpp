#pragma once

#include <cstdint>

namespace ember::kernels {

/// A plane of elements moved between two strided places; strides in elements.
struct Plane {
  std::int64_t rows, columns;
  std::int64_t from_row, from_column;
  std::int64_t to_row, to_column;
};

using PlaneMove = void (*)(const void* from, void* to, const Plane& plane);

/// Moves by element size: entry i moves elements of 2^i bytes. Memory of `from` and `to` is distinct.
struct MovementKernels {
  PlaneMove copy[4];       ///< from_column == to_column == 1
  PlaneMove fill[4];       ///< from_column == 0, to_column == 1
  PlaneMove transpose[4];  ///< from_row == to_column == 1
  PlaneMove any[4];        ///< any strides
};

}  // namespace ember::kernels
