#pragma once

#include <cstdint>
#include <vector>

#include <ember/tensor.hpp>

#include "ops/op.hpp"

namespace ember::ops {

/// A matrix product with NumPy's rules: a stack of [m, k] × [k, n], stacks broadcast, vectors promoted.
struct MatMulGeometry {
  std::int64_t m = 1;
  std::int64_t n = 1;
  std::int64_t k = 0;
  std::int64_t count = 1;  ///< matrices in the output's stack
  Shape output;
  /// By output matrix: which matrix of each input's stack.
  std::vector<std::int64_t> a_matrix, b_matrix;
};

/// MatMul (also QLinearMatMul and MatMulInteger). Fails (InvalidModel) on shapes that do not fit.
MatMulGeometry matmul_geometry(const NodeContext& node, const Shape& a, const Shape& b);
/// The output shape alone.
Shape matmul_shape(const NodeContext& node, const Shape& a, const Shape& b);

/// Gemm: alpha op(A) op(B) + beta C with op(A) [m, k] and op(B) [k, n].
struct GemmGeometry {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  bool transpose_a = false;
  bool transpose_b = false;
  float alpha = 1.0F;
  float beta = 1.0F;
};

GemmGeometry gemm_geometry(const NodeContext& node, const Shape& a, const Shape& b);

/// How a tensor of rank 0 to 2 that broadcasts to a matrix is walked: 0 where it repeats.
struct BroadcastMatrix {
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 0;
};

BroadcastMatrix broadcast_matrix(const Shape& shape);

}  // namespace ember::ops
